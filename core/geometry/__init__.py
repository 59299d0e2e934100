"""Pure tensor mathematics on point clouds: no models, no text, no files."""
