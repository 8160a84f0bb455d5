"""A feasible set whose space is small enough to write out: every cost in one array.

A point is a flat number in the order of `itertools.product` over the positions' options.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np

from .chain import Bools, Chain, Indices, Ints
from .limits import Limits

_CHUNK = 4096


class Enumerated:
    """The points of `chain` within `limits`, by looking at all of them."""

    acceptance = 1.0

    def __init__(self, chain: Chain, limits: Limits) -> None:
        self.chain = chain
        self.limits = limits

    def cost(self, row: int) -> Ints:
        """(product of the options,) one cost of every combination, allowed or not."""
        chain = self.chain
        total: Ints = chain.positions[0].cost[row, 0]
        state = np.zeros(1, dtype=np.int64)
        for i, position in enumerate(chain.positions):
            added = position.cost[row][state]
            if i == len(chain) - 1:
                added = added + chain.final[row][position.state]
            total = (total.reshape(-1, len(state), 1) + added).reshape(-1) if i else added[0]
            state = position.state
        return total

    @cached_property
    def feasible(self) -> Bools:
        """(product of the options,) whether the combination is allowed and within the limits."""
        good = self._allowed()
        for row, (low, high) in self.limits.rows.items():
            cost = self.cost(row)
            for within in ([cost >= low] if low is not None else []) + (
                [cost <= high] if high is not None else []
            ):
                good = within if good is None else np.logical_and(good, within, out=good)
        if good is None:
            good = np.ones(int(np.prod(self.chain.shape)), dtype=np.bool_)
        return good

    def _allowed(self) -> Bools | None:
        if all(position.allowed.all() for position in self.chain.positions):
            return None
        good = np.ones(1, dtype=np.bool_)
        state = np.zeros(1, dtype=np.int64)
        for position in self.chain.positions:
            good = (good.reshape(-1, len(state), 1) & position.allowed[state]).reshape(-1)
            state = position.state
        return good

    @cached_property
    def count(self) -> int:
        return int(np.count_nonzero(self.feasible))

    @property
    def count_bounds(self) -> tuple[int, int]:
        return self.count, self.count

    @cached_property
    def members(self) -> Ints:
        """The feasible points' flat numbers, ascending."""
        return np.flatnonzero(self.feasible)

    @cached_property
    def ordered(self) -> Ints:
        """The feasible points' flat numbers, ascending in the first cost."""
        members = self.members
        return members[np.argsort(self.cost(0)[members], kind="stable")]

    def unravel(self, flat: Ints) -> Ints:
        """(n,) flat numbers -> (n, n_positions) options."""
        return np.stack(np.unravel_index(flat, self.chain.shape), axis=1).astype(np.int64)

    def _point(self, flat: int) -> Indices:
        return tuple(int(option) for option in np.unravel_index(flat, self.chain.shape))

    def sample(self, rng: np.random.Generator, n: int) -> Ints:
        return self.unravel(self.members[rng.integers(self.count, size=n)])

    def in_order(self) -> Iterator[Ints]:
        for start in range(0, self.count, _CHUNK):
            yield self.unravel(self.ordered[start : start + _CHUNK])

    def nearest_outside(self) -> list[int]:
        """The costs just below and above a lone pair of limits, where nothing is between."""
        if len(self.limits.rows) != 1:
            return []
        (row, (low, high)) = next(iter(self.limits.rows.items()))
        cost = self.cost(row)
        allowed = self._allowed()
        cost = cost if allowed is None else cost[allowed]
        below, above = cost[cost < (low or 0)], cost[cost > (high or 0)]
        return [int(below.max())] * (below.size > 0) + [int(above.min())] * (above.size > 0)

    def extreme(self, sign: int) -> Indices:
        """The first of the cheapest points (sign 1) or dearest (-1)."""
        best = self.members[np.argmin(sign * self.cost(0)[self.members])]
        return self._point(int(best))

    def repair(self, indices: Ints) -> Indices:
        """The feasible point nearest to `indices`; see FeasibleSet.repair."""
        members = self.members
        changed = np.zeros(len(members), dtype=np.int64)
        for place, options in enumerate(np.unravel_index(members, self.chain.shape)):
            changed += options != indices[place]
        nearest = members[changed == changed.min()]
        own = self.chain.cost_of(indices[None])[0, 0]
        return self._point(int(nearest[np.argmin(np.abs(self.cost(0)[nearest] - own))]))

    def threshold(self, fraction: float) -> int:
        """The first cost that the dearest `fraction` of the points reach, at least one point."""
        cost = self.cost(0)[self.members]
        rank = min(int(np.floor(self.count * (1 - fraction))), self.count - 1)
        return int(np.partition(cost, rank)[rank])
