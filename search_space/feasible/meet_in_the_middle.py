"""Exact counts for one cost: the chain cut in two, and the halves' costs put together.

A half is, for each state at the cut, its distinct costs and how many ways there are to each.
Ways of equal cost and state are merged as positions are added, so identical blocks cost little.
The points with a cost in a window are then counted by looking up, for each cost of the left half,
which costs of the right half go with it; and they are numbered, so that each can be had by number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chain.chain import Chain, Ints

_MOST_SUMS = 10_000_000  # 16 bytes each, and three times as much while they are merged
_INT64 = 2**62

Ways = NDArray[Any]
"""Numbers of ways: int64, or Python ints where they add up to 2**62 or more."""


class TooLarge(RuntimeError):
    """Exact counting would need more memory than is allowed (1 GB)."""


@dataclass(frozen=True, eq=False)
class Sums:
    """costs: (n,) distinct and ascending; ways: (n,) how many each."""

    costs: Ints
    ways: Ways

    @classmethod
    def merged(cls, parts: list[Sums]) -> Sums:
        """Of parts that have been shifted; what they share is added up."""
        if not any(len(part.costs) for part in parts):
            return cls(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        costs = np.concatenate([part.costs for part in parts])
        # Stable sorting merges the parts, each of which is ascending: four times as fast.
        order = np.argsort(costs, kind="stable")
        costs = costs[order]
        starts = np.flatnonzero(np.concatenate([[True], costs[1:] != costs[:-1]]))
        if sum(part.total for part in parts) < _INT64:
            ways = np.concatenate([part.ways for part in parts])[order]
        else:
            ways = np.concatenate([part.ways.astype(object) for part in parts])[order]
        if len(starts) == len(costs):
            return cls(costs, ways)
        return cls(costs[starts], np.add.reduceat(ways, starts))

    @cached_property
    def total(self) -> int:
        return int(self.ways.sum())

    def shifted(self, cost: int) -> Sums:
        return Sums(self.costs + cost, self.ways)

    def ways_before(self) -> Ways:
        """(n + 1,) the ways to all costs before each."""
        return np.concatenate([np.zeros(1, dtype=self.ways.dtype), np.cumsum(self.ways)])


Level = list[Sums]
"""State -> the sums of one half there."""


class MeetInTheMiddle:
    """The distribution of one cost (`row`) over the points of `chain`; TooLarge where too many.

    lefts[i]: the sums of the positions before `i`, by the state that arrives there, i <= cut.
    rights[i]: those of the positions from `i` on and the final cost. At the cut, where they are the
    largest, they are made when they are needed, one state at a time if all do not fit.
    """

    def __init__(self, chain: Chain, row: int) -> None:
        self.chain = chain
        self.row = row
        one = np.ones(1, dtype=np.int64)
        end = len(chain)
        self.lefts: dict[int, Level] = {0: [Sums(np.zeros(1, dtype=np.int64), one)]}
        self.rights: dict[int, Level] = {
            end: [Sums(cost.reshape(1), one) for cost in chain.final[row]]
        }
        left, right = 0, end
        # The half that is cheaper to extend grows. A last position that is cheaper
        # on the right is left to `joined`, which adds it one state at a time if need be.
        while left < right:
            sizes = self._sizes_right(right - 1)
            if sum(self._sizes_left(left)) <= sum(sizes):
                self._check(sum(self._sizes_left(left)))
                self.lefts[left + 1] = self._left(left)
                left += 1
            elif right - left > 1:
                self._check(sum(sizes))
                right -= 1
                self.rights[right] = [self._right(right, state) for state in range(len(sizes))]
            else:
                self._check(max(sizes))
                break
        self.cut = left

    def steps(self, i: int) -> Iterator[tuple[int, int, int, int]]:
        """The steps at position `i`: state before, option, state after, cost."""
        position = self.chain.positions[i]
        for before, option in np.argwhere(position.allowed).tolist():
            cost = int(position.cost[self.row, before, option])
            yield before, option, int(position.state[before, option]), cost

    def joined(self) -> Iterator[tuple[int, Sums, Sums]]:
        """For every state at the cut: the state, the left sums and the right sums."""
        if self.cut not in self.rights and sum(self._sizes_right(self.cut)) <= _MOST_SUMS:
            states = range(self.chain.n_states(self.cut))
            self.rights[self.cut] = [self._right(self.cut, state) for state in states]
        for state, left in enumerate(self.lefts[self.cut]):
            if len(left.costs):
                yield state, left, self._right(self.cut, state)

    def count(self, low: int | None, high: int | None) -> int:
        """The number of points that cost from `low` to `high`, both included."""
        total = 0
        for _, left, right in self.joined():
            before = right.ways_before()
            first, last = window(left, right, low, high)
            partners = before[last] - before[first]
            if left.total * right.total < _INT64:
                total += int(np.dot(left.ways, partners))
            else:
                total += int(np.dot(left.ways.astype(object), partners.astype(object)))
        return total

    def nearest(self, cost: int, sign: int) -> int | None:
        """The least cost of a point from `cost` up (sign 1), or the greatest down (-1)."""
        found: list[int] = []
        for _, left, right in self.joined():
            wanted = cost - left.costs
            place = np.searchsorted(right.costs, wanted, "left" if sign > 0 else "right")
            place = place if sign > 0 else place - 1
            good = (place >= 0) & (place < len(right.costs))
            if good.any():
                sums = left.costs[good] + right.costs[place[good]]
                found.append(int(sums.min() if sign > 0 else sums.max()))
        return (min(found) if sign > 0 else max(found)) if found else None

    def _left(self, i: int) -> Level:
        parts: list[Level] = [[] for _ in range(self.chain.n_states(i + 1))]
        for before, _, after, cost in self.steps(i):
            parts[after].append(self.lefts[i][before].shifted(cost))
        return [Sums.merged(part) for part in parts]

    def _right(self, i: int, state: int) -> Sums:
        if i in self.rights:
            return self.rights[i][state]
        return Sums.merged(
            [
                self.rights[i + 1][after].shifted(cost)
                for before, _, after, cost in self.steps(i)
                if before == state
            ]
        )

    def _sizes_left(self, i: int) -> list[int]:
        return [len(self.lefts[i][before].costs) for before, *_ in self.steps(i)]

    def _sizes_right(self, i: int) -> list[int]:
        """State -> sums there, before merging."""
        sizes = [0] * self.chain.n_states(i)
        for before, _, after, _ in self.steps(i):
            sizes[before] += len(self.rights[i + 1][after].costs)
        return sizes

    def _check(self, sums: int) -> None:
        if sums > _MOST_SUMS:
            raise TooLarge(f"{sums} partial costs are more than fit into the memory allowed")


def window(left: Sums, right: Sums, low: int | None, high: int | None) -> tuple[Ints, Ints]:
    """For each left cost the right costs [first, last) that make a sum from `low` to `high`."""
    first = np.zeros(len(left.costs), dtype=np.int64)
    last = np.full(len(left.costs), len(right.costs), dtype=np.int64)
    if low is not None:
        first = np.searchsorted(right.costs, low - left.costs, "left")
    if high is not None:
        last = np.searchsorted(right.costs, high - left.costs, "right")
    return first, np.maximum(first, last)
