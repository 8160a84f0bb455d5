"""The operator `vanilla`: the backbone's own convolution."""

from __future__ import annotations

from .octave import spatial
from .operator import Operator

VANILLA = Operator("vanilla", spatial, takes_pairs=True, colours=("#e5e7eb", "#39414d"))
