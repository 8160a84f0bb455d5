"""What a traced convolution may become, as each operator plans it, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from ..choice import Choice
from ..layers.base import Layer, LayerCost, NotBuildable, Signal
from ..layers.operator import Site
from ..layers.registry import OPERATORS
from .trace import Call, TracedLayer

VANILLA = Choice("vanilla")
CARRIED = ("vanilla", "hetconv", "octave")
"""The operators that take over a dense kernel's numbers, see `carry.py`."""


@dataclass(frozen=True)
class LayerSite(Site):
    """The place of one convolution of a traced network, whose kernel may be 1x1 as well."""

    kernel_size: int = 3

    @property
    def kernel(self) -> int:
        return self.kernel_size


@dataclass(frozen=True)
class LayerOptions:
    """A layer, its choices with what each costs in all its calls (vanilla, as it is, first), and
    why others are left out."""

    layer: TracedLayer
    costs: dict[Choice, LayerCost]
    left_out: dict[Choice, str] = field(default_factory=dict)


def plan_layer(conv: nn.Conv2d, call: Call, choice: Choice) -> Layer:
    """The layer that takes this convolution's place. Raises NotBuildable.

    An octave one keeps its low channels to itself: the same share of what it reads and of what it
    gives is worked on at half resolution, and plain maps come in and go out.
    """
    operator, kernel, groups = OPERATORS[choice.conv], conv.kernel_size[0], conv.groups
    alpha = operator.alpha(choice)
    if choice != VANILLA:
        depthwise = groups == conv.in_channels == conv.out_channels
        if groups > 1 and not (alpha and depthwise):
            raise NotBuildable(f"{choice.conv} does not go where there are {groups} groups")
        if alpha and conv.stride[0] > 1:
            raise NotBuildable("an octave convolution would pool where this one strides")
        if not alpha and kernel == 1:
            raise NotBuildable(f"{choice.conv} has nothing to spare in a 1x1 kernel")
    site = LayerSite(
        choice,
        Signal(conv.in_channels, *call.source, alpha),
        conv.out_channels,
        alpha,
        stride=conv.stride[0],
        groups=groups,
        bias=conv.bias is not None,
        kernel_size=kernel,
    )
    return operator.spatial(site)


def layer_options(layer: TracedLayer, choices: Sequence[Choice]) -> LayerOptions:
    """Which of `choices` it may become: those that can be built and are cheaper in some way."""
    conv = layer.module
    if layer.stays is not None or not isinstance(conv, nn.Conv2d):
        return LayerOptions(layer, {})
    own = _cost(conv, layer.calls, VANILLA)
    found = LayerOptions(layer, {VANILLA: own})
    for choice in choices:
        if choice == VANILLA:
            continue
        try:
            cost = _cost(conv, layer.calls, choice)
        except NotBuildable as e:
            found.left_out[choice] = str(e)
            continue
        if any(mine < its for mine, its in zip(cost, own, strict=True)):
            found.costs[choice] = cost
        else:
            found.left_out[choice] = "it would be no cheaper"
    return found


def _cost(conv: nn.Conv2d, calls: Sequence[Call], choice: Choice) -> LayerCost:
    costs = [plan_layer(conv, call, choice).cost() for call in calls]
    # Passed through twice it works twice, with one set of weights.
    return LayerCost(
        sum(c.flops for c in costs), costs[0].params, sum(c.activations for c in costs)
    )
