"""A run on disk: its directory, its study, and what they say."""
