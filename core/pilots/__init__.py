"""Pilots: what was decided before measuring, and the file that records it."""
