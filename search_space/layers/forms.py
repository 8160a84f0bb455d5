"""What a module of an operator may offer beside `forward`: being folded, and being exported.

None of it is needed. A layer without `absorb_norm` keeps the norm behind it, one without
`for_inference` runs as in training, one without `standalone` is exported as pt, pt2 and onnx only.
Methods are looked up by name, so an operator of one's own needs nothing from here.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class AbsorbsNorm(Protocol):
    """A linear layer that can take a norm's scale and shift into its own numbers."""

    def absorb_norm(self, scale: Tensor, shift: Tensor) -> None:
        """Make f(x) what scale * f(x) + shift was, in place; both are (out_channels,)."""


@runtime_checkable
class InferenceForm(Protocol):
    """A layer with a faster form for a network that is no longer trained."""

    def for_inference(self, overwrites: bool) -> nn.Module:
        """That form (or itself). overwrites: nobody else reads the map that it is given."""


@runtime_checkable
class MeetsNeighbours(Protocol):
    """A layer that, in a row, can save work together with the one before or behind it."""

    def meet(self, before: nn.Module, after: nn.Module) -> None:
        """Change the two, in place, so that together they give what they gave. One is `self`."""


@runtime_checkable
class Standalone(Protocol):
    """A layer that can be written in a Python module that needs torch alone."""

    def standalone(self) -> str:
        """The call that makes it there: `GhostConv2d(16, 32, 3, ratio=2)`. What it names must be
        among its operator's `standalone` classes."""


METHODS = ("absorb_norm", "for_inference", "meet", "standalone")
"""These methods' names: a copy of a layer in an exported module goes without them."""


def call(name: str, *positional: Any, **keywords: Any) -> str:
    """The text of a call; keywords that are None are left out."""
    said = [repr(value) for value in positional]
    said += [f"{key}={value!r}" for key, value in keywords.items() if value is not None]
    return f"{name}({', '.join(said)})"
