"""A search from its first proposal to its final choice."""
