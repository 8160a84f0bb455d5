"""A trial, which NNI's manager starts."""
