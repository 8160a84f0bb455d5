"""The operators' layers as exported Python modules have them, copied word for word."""
