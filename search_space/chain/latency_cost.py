"""Latency as one more cost of a chain: measured for every part, added up like the counted ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..budget import format_time
from ..errors import InputError
from ..feasible.limits import InfeasibleBudget
from .chain import Chain
from .parts import Part, SpaceParts


def in_time_units(error: InfeasibleBudget) -> InfeasibleBudget:
    """The error of a latency limit, whose numbers are nanoseconds, in words with units."""
    ends = error.value if isinstance(error.value, tuple) else (error.value,)
    shown = " to ".join(format_time(end) for end in ends if isinstance(end, int))
    nearest = "unknown" if error.nearest is None else format_time(error.nearest)
    allowed = f"the nearest that an architecture has is {nearest}, by the latency table"
    return InfeasibleBudget(error.key, shown, allowed, error.nearest)


def with_latency(chain: Chain, parts: SpaceParts, times: Mapping[str, int]) -> Chain:
    """The chain with the row "latency", in nanoseconds.

    times: a part's key -> nanoseconds. InputError where one is missing.
    """

    def time_of(part: Part | None) -> int:
        if part is None:
            return 0
        if part.key not in times:
            allowed = "it holds no time for a part of this space: measure it again for this space"
            raise InputError("latency.measured", "this table", allowed)
        return int(times[part.key])

    positions = []
    for number, (position, rows) in enumerate(zip(chain.positions, parts.positions, strict=True)):
        row = np.array([[time_of(part) for part in options] for options in rows], dtype=np.int64)
        # The stem is paid once, with the first position, as for the counted costs.
        if number == 0:
            row = row + time_of(parts.stem)
        positions.append(replace(position, cost=np.concatenate([position.cost, row[None]])))
    last = np.array([[time_of(head) for head in parts.heads]], dtype=np.int64)
    final = np.concatenate([chain.final, last])
    return Chain(tuple(positions), final, (*chain.costs, "latency"))
