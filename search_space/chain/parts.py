"""The pieces that the networks of a space are put together from, each able to run on its own.

A network is its stem, a piece for every slot, and its head. A space of thousands of networks has
few different pieces, so measuring each once says something of all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from ..architecture import Architecture
from ..layers.base import Signal, half
from ..network.blocks import Block
from ..network.plan import plan
from .slots import Option, Slot, State


@dataclass(frozen=True)
class Part:
    """Blocks in a row, and the feature map that arrives at the first of them."""

    blocks: tuple[Block, ...]
    source: Signal

    @cached_property
    def key(self) -> str:
        """16 hexadecimal digits: a digest of every layer and shape in it."""
        return hashlib.sha256(repr((self.blocks, self.source)).encode()).hexdigest()[:16]

    def build(self) -> nn.Module:
        """Freshly initialised from torch's global generator."""
        return nn.Sequential(*[block.build() for block in self.blocks])

    def input_shapes(self, batch: int) -> list[tuple[int, int, int, int]]:
        """(N, C, H, W) of the one tensor that it takes, or of the pair (high, low).

        The low-frequency tensor has half the height and width.
        """
        source = self.source
        high = (batch, source.high, source.height, source.width)
        if source.alpha == 0:
            return [high]
        return [high, (batch, source.low, half(source.height), half(source.width))]


@dataclass(frozen=True)
class SpaceParts:
    """`positions`: for each slot, by arriving state and option, its piece; None where there is
    nothing to run: the option may not follow, or the block is absent. `stem` None: there is none.
    `heads`: by the state that arrives last."""

    stem: Part | None
    positions: tuple[tuple[tuple[Part | None, ...], ...], ...]
    heads: tuple[Part, ...]

    def all(self) -> Iterator[Part]:
        """Each different piece once."""
        every = [self.stem, *self.heads]
        every += [part for position in self.positions for row in position for part in row]
        return iter(dict.fromkeys(part for part in every if part is not None))


def parts_of(architecture: Architecture) -> list[Part | None]:
    """The pieces of any one network: stem (None: there is none), stages, head."""
    layout = plan(architecture)
    source = Signal(*architecture.input)
    found: list[Part | None] = [Part((layout.stem,), source) if layout.stem else None]
    source = layout.stem.out if layout.stem else source
    for blocks in layout.stages:
        found.append(Part(blocks, source))
        source = blocks[-1].out
    return [*found, Part((layout.head,), source)]


def slot_parts(
    slot: Slot, options: list[Option], arriving: list[State]
) -> tuple[tuple[tuple[Part | None, ...], ...], list[State]]:
    """The pieces by state and option, and the states handed on, in the order of the chain's."""
    rows: list[list[Part | None]] = [[] for _ in arriving]
    leaving: dict[State, None] = {}
    for option in options:
        for row, state in zip(rows, arriving, strict=True):
            row.append(None)
            try:
                step = slot.after(state, option)
            except ValueError:
                continue  # not buildable after this state
            if step is not None:
                leaving[step[1]] = None
                blocks = slot.blocks(state, option)
                row[-1] = Part(blocks, state.signal) if blocks else None
    return tuple(map(tuple, rows)), list(leaving)
