"""The papers' own ways of counting, where they differ from plain multiply-adds.

HetConv (arXiv 1903.04120) adds one per output element for a convolution's bias, and scales it like
the multiply-adds by (K^2/p + 1 - 1/p) / K^2. OctConv (arXiv 1904.05049) counts with a tool that adds
one for every element a pooling window reads. Res2Net counts plain multiply-adds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..architecture import Architecture, Choice
from ..errors import unknown_name
from ..layers.base import MaxPool, Pool, Squeeze, Vanilla
from ..layers.hetconv import Het
from ..layers.octave import Octave
from ..network.blocks import Block

CONVENTIONS = ("multiply-adds", "paper")

Extra = Callable[[Any], int]


def _vanilla_bias(layer: Vanilla) -> int:
    return layer.out.elements if layer.bias else 0


def _het_bias(layer: Het) -> int:
    if not layer.bias:
        return 0
    dense = layer.source.channels * layer.kernel**2
    return round(layer.cost().flops / dense)


def _octave_bias(layer: Octave) -> int:
    return layer.out.elements if layer.bias else 0


def _octave_pooling(layer: Octave) -> int:
    return 4 * layer.pooled


def _max_pooling(layer: MaxPool) -> int:
    return layer.kernel**2 * layer.out.elements


def _global_pooling(layer: Pool) -> int:
    return layer.source.elements


def _squeeze(layer: Squeeze) -> int:
    return layer.out.elements


BIASES: dict[type, Extra] = {Vanilla: _vanilla_bias, Het: _het_bias, Octave: _octave_bias}
POOLINGS: dict[type, Extra] = {
    Octave: _octave_pooling,
    MaxPool: _max_pooling,
    Pool: _global_pooling,
    Squeeze: _squeeze,
}
COUNTED_BY: dict[str, dict[type, Extra]] = {"hetconv": BIASES, "octave": POOLINGS}
"""Operator -> what its paper counts beside multiply-adds, by kind of layer."""


def extras_of(architecture: Architecture, convention: str) -> list[dict[type, Extra]]:
    """What the papers of an architecture's operators add. Raises InputError for another name.

    An architecture without such an operator is counted in plain multiply-adds: a paper's vanilla
    baseline is `hetconv(p=1)`.
    """
    if convention not in CONVENTIONS:
        raise unknown_name("convention", convention, CONVENTIONS)
    if convention == "multiply-adds":
        return []
    choices: list[Choice] = []
    for stage in architecture.stages:
        choices += [stage] if isinstance(stage, Choice) else stage
    operators = {choice.conv for choice in choices}
    return [extras for operator, extras in COUNTED_BY.items() if operator in operators]


def extra_flops(blocks: tuple[Block, ...], extras: list[dict[type, Extra]]) -> int:
    """What a paper's convention adds to the multiply-adds of these blocks."""
    return sum(
        table[type(layer)](layer)
        for block in blocks
        for layer in block.layers
        for table in extras
        if type(layer) in table
    )
