"""Our tuner, which NNI's manager starts."""

from .tuner import Tuner

__all__ = ["Tuner"]
