"""The operators and the layers around them, one file each."""
