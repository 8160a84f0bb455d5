"""Feasible sets small enough to hold in memory, one entry a point."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from ..chain.chain import Bools, Chain, Indices, Ints, Position
from .limits import Limits

_CHUNK = 4096


class InMemory(abc.ABC):
    """The points of a feasible set, numbered from 0 to `count` - 1."""

    acceptance = 1.0
    listable = True
    chain: Chain

    @property
    @abc.abstractmethod
    def count(self) -> int: ...

    @property
    @abc.abstractmethod
    def first_cost(self) -> Ints:
        """(count,)"""

    @abc.abstractmethod
    def take(self, numbers: Ints) -> Ints:
        """(n,) numbers -> (n, n_positions) options."""

    @property
    def count_bounds(self) -> tuple[int, int]:
        return self.count, self.count

    @property
    def empty(self) -> bool:
        return self.count == 0

    @cached_property
    def _ranks(self) -> Ints:
        return np.argsort(self.first_cost, kind="stable")

    def sample(self, rng: np.random.Generator, n: int) -> Ints:
        return self.take(rng.integers(self.count, size=n))

    def in_order(self) -> Iterator[Indices]:
        for start in range(0, self.count, _CHUNK):
            yield from map(tuple, self.take(self._ranks[start : start + _CHUNK]).tolist())

    def extreme(self, sign: int) -> Indices:
        """The first of the cheapest points (sign 1) or of the dearest (-1)."""
        best = np.argmin(sign * self.first_cost)
        return tuple(self.take(np.array([best]))[0].tolist())

    def threshold(self, fraction: float) -> int:
        """The first cost that the dearest `fraction` of the points reach, one point at least."""
        rank = min(int(np.floor(self.count * (1 - fraction))), self.count - 1)
        return int(np.partition(self.first_cost, rank)[rank])

    def closest(self, point: Indices) -> Indices:
        """One that differs from `point` at the fewest positions; of those, where `point` is one of
        the chain's, a first one whose first cost is nearest to its."""
        given = np.array([point])
        cost = self.chain.cost_of(given)[0, 0] if self.chain.allows(given)[0] else None
        best: tuple[int, int, Indices] | None = None
        for start in range(0, self.count, _CHUNK):
            numbers = np.arange(start, min(self.count, start + _CHUNK))
            rows = self.take(numbers)
            changed = (rows != point).sum(axis=1)
            off = np.zeros_like(changed) if cost is None else abs(self.first_cost[numbers] - cost)
            at = np.lexsort((off, changed))[0]
            found = int(changed[at]), int(off[at]), tuple(rows[at].tolist())
            best = found if best is None or found[:2] < best[:2] else best
        assert best is not None  # a feasible set is not empty
        return best[2]


class Listed(InMemory):
    """From the points themselves, (n, n_positions) options."""

    def __init__(self, chain: Chain, rows: Ints) -> None:
        self.chain = chain
        # In the order of the options, as where everything is enumerated.
        self._rows = rows[np.lexsort(rows.T[::-1])]

    @property
    def count(self) -> int:
        return len(self._rows)

    @cached_property
    def first_cost(self) -> Ints:
        return self.chain.cost_of(self._rows)[:, 0]

    def take(self, numbers: Ints) -> Ints:
        return self._rows[numbers]


class Enumerated(InMemory):
    """From every combination of options: their costs are sums of tables, written out at once.

    A combination is a flat number in the order of `itertools.product`.
    """

    def __init__(self, chain: Chain, limits: Limits) -> None:
        self.chain, self.limits = chain, limits

    def cost(self, row: int) -> Ints:
        """(product of the options,) one cost of every combination, allowed or not."""
        chain = self.chain
        total = np.zeros(1, dtype=np.int64)
        for i, (position, state) in enumerate(self._states()):
            added = position.cost[row][state]
            if i == len(chain) - 1:
                added = added + chain.final[row][position.state[state]]
            # Combinations so far, in runs as long as `state`, by the options here.
            total = (total.reshape(-1, len(state), 1) + added).reshape(-1)
        return total

    def _states(self) -> Iterator[tuple[Position, Ints]]:
        """Each position, and the states that arrive there: of all combinations so far, or the
        shortest run of them that repeats."""
        state = np.zeros(1, dtype=np.int64)
        for position in self.chain.positions:
            yield position, state
            handed = position.state[0] if position.forgets else position.state[state]
            state = handed.reshape(-1)

    @cached_property
    def feasible(self) -> Bools:
        """(product of the options,) whether the combination is allowed and within the limits."""
        good = self._allowed()
        for row, (low, high) in self.limits.rows.items():
            cost = self.cost(row)
            if low is not None:
                good &= cost >= low
            if high is not None:
                good &= cost <= high
        return good

    def _allowed(self) -> Bools:
        if all(position.allowed.all() for position in self.chain.positions):
            return np.ones(int(np.prod(self.chain.shape)), dtype=np.bool_)
        good = np.ones(1, dtype=np.bool_)
        for position, state in self._states():
            good = (good.reshape(-1, len(state), 1) & position.allowed[state]).reshape(-1)
        return good

    @cached_property
    def count(self) -> int:
        return int(np.count_nonzero(self.feasible))

    @cached_property
    def _members(self) -> Ints:
        return np.flatnonzero(self.feasible)

    @cached_property
    def first_cost(self) -> Ints:
        return self.cost(0)[self._members]

    def take(self, numbers: Ints) -> Ints:
        return np.stack(np.unravel_index(self._members[numbers], self.chain.shape), axis=1)
