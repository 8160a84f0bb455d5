"""The launching side of a search under NNI."""
