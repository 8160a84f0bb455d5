"""What an operator says of itself: its numbers, where it goes, what it plans, how it is shown.

An operator is one file of this folder and one line of `registry.py`. The file holds a planned layer
(shapes, cost, what its backward pass keeps, its paper's way of counting, its module) and one
`Operator` that names it. Its module may be folded and exported by methods of its own, see
`forms.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol

from ..backbones import Backbone
from ..errors import InputError
from .base import Layer, Signal


@dataclass(frozen=True)
class Parameter:
    """A number that a choice may carry, and what it may be.

    whole: it is a whole number from `least` to `most`, odd ones alone where `odd`; else any number
        above 0 and at most `most`.
    optional: an operator that has it need not be given it.
    meaning: what it is, for the message that refuses a value.
    """

    name: str
    most: int = 65536
    least: int = 1
    whole: bool = True
    odd: bool = False
    optional: bool = False
    meaning: str = ""

    @property
    def allowed(self) -> str:
        """What it may be, in words."""
        words = f"a number above 0 and at most {self.most}"
        if self.whole:
            kind = "an odd whole number" if self.odd else "a whole number"
            words = f"{kind} from {self.least} to {self.most}"
        return f"{words} ({self.meaning})" if self.meaning else words

    def checked(self, value: Any, key: str | None = None) -> float | int:
        """The value as a Python number (numpy's are taken too), or InputError under `key`."""
        real = isinstance(value, Real) and not isinstance(value, bool)
        if real and 0 < value <= self.most:  # not so where it is no number (nan)
            if not self.whole:
                return float(value)
            number = int(value)
            if value == number >= self.least and (number % 2 or not self.odd):
                return number
        shown = int(value) if isinstance(value, Integral) and real else value
        raise InputError(key or self.name, shown, f"it must be {self.allowed}")


COMMON = (
    Parameter("kernel", most=65535, least=3, odd=True),
    Parameter("depth", most=1000),
    Parameter("width", most=1000, whole=False, meaning="it multiplies the stage's channels"),
)
"""What every operator's choice may carry: the spatial kernel, the number of blocks, the multiplier
of the stage's channels. Not given, each is the backbone's own."""


class Chosen(Protocol):
    """A choice, as operators see it: `choice.alpha`, None where it has no such number."""

    @property
    def conv(self) -> str: ...

    def __getattr__(self, name: str, /) -> Any: ...


@dataclass(frozen=True)
class Site:
    """Where a spatial convolution goes: what it receives, what it must give, in which block.

    alpha: the share of low-frequency channels to give (0: a plain map). stage_block: whether the
    block is the first of its stage.
    """

    choice: Chosen
    source: Signal
    out_channels: int
    alpha: float
    stride: int = 1
    groups: int = 1
    bias: bool = False
    stage_block: bool = False

    @property
    def kernel(self) -> int:
        return self.choice.kernel or 3


def goes_everywhere(backbone: Backbone) -> str | None:
    """`misplaced` of an operator that goes on any backbone."""
    return None


def ungrouped(name: str) -> Callable[[Backbone], str | None]:
    """`misplaced` of an operator that knows neither groups nor depthwise convolutions."""

    def misplaced(backbone: Backbone) -> str | None:
        if backbone.block == "depthwise":
            return f"{name} does not go where the convolution is depthwise"
        if backbone.groups > 1:
            return f"{name} does not go where the convolution has {backbone.groups} groups"
        return None

    return misplaced


def _plain(choice: Chosen) -> float:
    return 0.0


def _as_the_backbone(choice: Chosen, planes: int, groups: int) -> int | None:
    return None


def _as_given(choice: Chosen, layers: Sequence[Layer]) -> Mapping[str, float | int]:
    return {}


@dataclass(frozen=True)
class Operator:
    """A kind of convolution.

    spatial: plans what takes the place of a block's spatial convolution at a Site. It raises
        NotBuildable where that cannot be built; such choices are left out of a space.
    parameters: its numbers, in the order of its text, `octave(alpha=0.25)`.
    misplaced: why it does not go on a backbone, whatever its numbers; None: it goes.
    alpha: of a choice, the share of low-frequency channels that its stage's maps have.
    bottleneck: (choice, planes, groups) -> channels between a bottleneck's 1x1 convolutions; None:
        the backbone's own.
    takes_pairs: `spatial` can receive a (high, low) pair. Where it cannot, a block whose first
        convolution would be this one begins with an octave convolution that joins the two.
    simplest: (choice, the layers that its blocks planned) -> numbers, of all that plan the same
        network the ones that stand for it; a choice's identity is made of them.
    counts: what its paper counts as flops beside multiply-adds: names of properties of planned
        layers, "biases" or "poolings" (see `base.py`).
    standalone: classes and functions, on torch alone, that an exported Python module gets a copy
        of where its layers name them.
    colours: the background of its boxes in a report, on a light and on a dark page.
    """

    name: str
    spatial: Callable[[Site], Layer]
    parameters: tuple[Parameter, ...] = ()
    misplaced: Callable[[Backbone], str | None] = goes_everywhere
    alpha: Callable[[Chosen], float] = _plain
    bottleneck: Callable[[Chosen, int, int], int | None] = _as_the_backbone
    takes_pairs: bool = False
    simplest: Callable[[Chosen, Sequence[Layer]], Mapping[str, float | int]] = _as_given
    counts: tuple[str, ...] = ()
    standalone: tuple[Any, ...] = ()
    colours: tuple[str, str] = ("#fbcfe8", "#5b2140")
