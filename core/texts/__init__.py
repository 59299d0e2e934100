"""Texts to measure on: corpora and chats, cut into the same windows for every model, with their words."""
