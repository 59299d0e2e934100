"""From a model and a text to a profile. The only part of Workdim that imports transformers."""
