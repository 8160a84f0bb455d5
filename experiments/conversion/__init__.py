"""Somebody's own trained network made cheaper, its weights kept."""
