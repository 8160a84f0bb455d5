"""What a plan is made of: signals between layers, and what each layer knows of itself.

A network is planned before any tensor exists, so the cost of an architecture and its network come
from one description. One multiply-add is one FLOP; activations are elements of convolution and
linear outputs; params are learned numbers (BatchNorm's two per channel included).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import nn

from .frequency import low_channels


class NotBuildable(ValueError):
    """Why a choice cannot be built where it was put, in plain words."""


class Misplaced(NotBuildable):
    """The operator does not go there, whatever its number."""


class LayerCost(NamedTuple):
    """Of one input: multiply-adds, learned numbers, elements of convolution and linear outputs."""

    flops: int = 0
    params: int = 0
    activations: int = 0


@dataclass(frozen=True)
class Signal:
    """The shape of a feature map between layers: channels, of which a share `alpha` is stored at
    half resolution (0: a plain tensor), and the full-resolution height and width."""

    channels: int
    height: int
    width: int
    alpha: float = 0.0

    @property
    def low(self) -> int:
        return low_channels(self.channels, self.alpha)

    @property
    def high(self) -> int:
        return self.channels - self.low

    @property
    def area(self) -> int:
        return self.height * self.width

    @property
    def low_area(self) -> int:
        return half(self.height) * half(self.width)

    @property
    def elements(self) -> int:
        if self.alpha == 0:
            return self.channels * self.area
        return self.high * self.area + self.low * self.low_area

    def strided(self, stride: int) -> tuple[int, int]:
        # Rounded up, as a convolution padded by half its odd kernel does.
        return -(-self.height // stride), -(-self.width // stride)


def half(size: int) -> int:
    """The size after a 2x2 pooling that keeps the odd last row."""
    return (size + 1) // 2


class Kept(NamedTuple):
    """What a layer keeps for the backward pass: what it reads (`source`), what it gives (`out`),
    and other bytes of float32 (`inside`)."""

    source: bool = False
    out: bool = False
    inside: int = 0


FLOAT_BYTES = 4


class Layer(Protocol):
    """What a plan is made of: frozen data, so that equal layers are equal.

    A layer may also say

    - `kept()`: what it keeps for the backward pass (a Kept). Without it, what it reads, as one
      convolution does;
    - `normalised`: True where it ends in norms and ReLUs of its own, so that none are added;
    - `biases`, `poolings`: what a paper may count beside multiply-adds, see
      `costs/conventions.py`. Without them, 0.
    """

    @property
    def out(self) -> Signal: ...

    def cost(self) -> LayerCost: ...

    def build(self) -> nn.Module: ...
