"""Where examples come from, and how they are divided and fed."""
