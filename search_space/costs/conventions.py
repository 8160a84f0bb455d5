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


def extras_of(architecture: Architecture, convention: str) -> list[str]:
    """What the papers of an architecture's operators add. Raises InputError for another name.

    "paper": as the papers of an architecture's operators count, one of none in plain multiply-adds.
    An operator's name: as its paper counts whatever the architecture, such as the vanilla baseline.
    """
    papers = {name: operator.counts for name, operator in OPERATORS.items() if operator.counts}
    if convention in papers:
        return list(papers[convention])
    if convention == "multiply-adds":
        return []
    if convention != "paper":
        raise unknown_name("convention", convention, ("multiply-adds", "paper", *papers))
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
