"""A pilot: what was decided before measuring, and the file that says it."""
