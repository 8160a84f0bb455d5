"""The papers' own ways of counting, where they differ from plain multiply-adds.

A layer says of itself what a paper may count beside multiply-adds:

- `biases`: one for each output element of a convolution with a bias (HetConv, arXiv 1903.04120,
  which scales it like the multiply-adds by (K^2/p + 1 - 1/p) / K^2);
- `poolings`: one for every element that a pooling window reads (the tool that OctConv, arXiv
  1904.05049, counts with).

An operator says which of them its paper counts, for the whole network. Res2Net counts plain
multiply-adds.
"""

from __future__ import annotations

from ..architecture import Architecture
from ..choice import Choice
from ..errors import unknown_name
from ..layers.registry import OPERATORS
from ..network.blocks import Block

CONVENTIONS = ("multiply-adds", "paper")


def extras_of(architecture: Architecture, convention: str) -> list[str]:
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
    counted = [extra for choice in choices for extra in OPERATORS[choice.conv].counts]
    # Once each: stages that name the same extra must not add it twice.
    return list(dict.fromkeys(counted))


def extra_flops(blocks: tuple[Block, ...], extras: list[str]) -> int:
    """What a paper's convention adds to the multiply-adds of these blocks."""
    layers = [layer for block in blocks for layer in block.layers]
    return sum(getattr(layer, extra, 0) for layer in layers for extra in extras)
