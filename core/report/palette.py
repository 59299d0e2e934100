"""The colours of curves, the same and in the same order in the app's figures and the deck's charts."""

CURVE_COLOURS = ("0072B2", "D55E00", "009E73", "CC79A7", "6B4A00", "4B2E83")
"""Okabe and Ito's first four, then a brown and a violet: their yellow and sky blue are too pale for a line on white.

All have a contrast of at least 3:1 on white and are told apart with the common colour blindnesses.
"""
