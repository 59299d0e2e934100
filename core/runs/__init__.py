"""Measurements as jobs: asked for, waiting, at work, stopped, gone on with, and in the warehouse at the end."""
