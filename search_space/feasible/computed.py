"""Feasible sets too large to write out: what is asked of them is computed from the chain."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from math import floor

import numpy as np

from ..chain.chain import Chain, Indices, Ints
from .bins import FloorGrid
from .by_cost import in_order
from .by_number import in_windows, numbered
from .enumerated import Listed
from .extremes import ToGo
from .limits import Limits
from .meet_in_the_middle import MeetInTheMiddle, TooLarge
from .sampling import Drawing

_MOST_LISTED = 1 << 21
_RARE = 1 / 500
_PROBE = 1 << 16
_PATIENCE = 100_000
_BOUND_BINS = 1 << 15
_INT64 = 2**62


class Computed:
    """The points of `chain` within `limits`, every end of which must cut off some points."""

    def __init__(self, chain: Chain, limits: Limits) -> None:
        self.chain = chain
        self.limits = limits

    @cached_property
    def count(self) -> int:
        """TooLarge where it cannot be known within the memory allowed."""
        if not self.limits.rows:
            return self.chain.size
        if self._listed is not None:
            return self._listed.count
        if len(self.limits.rows) > 1:
            raise TooLarge("within several limits, more than two million points are not counted")
        if self._halves is None:
            raise TooLarge("the distinct partial costs do not fit into the memory allowed (1 GB)")
        ((_, limit),) = self.limits.rows.items()
        return self._halves.count(*limit)

    @cached_property
    def count_bounds(self) -> tuple[int, int]:
        try:
            return self.count, self.count
        except TooLarge:
            return FloorGrid.of(self.chain, self.limits, _BOUND_BINS).count_bounds()

    @property
    def acceptance(self) -> float:
        return 1.0 if self._listed is not None else self._drawing.acceptance

    @property
    def listable(self) -> bool:
        """Whether the points are few enough to be held in memory."""
        return self._listed is not None

    @property
    def empty(self) -> bool:
        """Whether there certainly is no point; where several limits meet it may be missed."""
        ends = [end for limit in self.limits.rows.values() for end in limit if end is not None]
        # One end alone is met by some point, or the set would have been refused before.
        if len(ends) < 2:
            return False
        if self._listed is not None:
            return self._listed.empty
        return self._drawing.total == 0

    def sample(self, rng: np.random.Generator, n: int) -> Ints:
        if self._listed is not None:
            return self._listed.sample(rng, n)
        # Draws would hardly ever be kept here, while every number below the count is a point.
        if self._rare and self._halves is not None and self.count < _INT64:
            ((_, limit),) = self.limits.rows.items()
            return numbered(self._halves, rng.integers(self.count, size=n), *limit)
        return self._drawing.sample(rng, n)

    def in_order(self) -> Iterator[Indices]:
        """TooLarge where there is a lower limit on the first cost and counting does not fit."""
        if self._listed is not None:
            yield from self._listed.in_order()
            return
        low, high = self.limits.rows.get(0, (None, None))
        if low is None:
            yield from in_order(self.chain, 0, self.limits)
            return
        # Not `_halves`, which is of the limited cost and None where several are limited.
        for rows in in_windows(MeetInTheMiddle(self.chain, 0), low, high):
            kept = self.limits.met_by(self.chain.cost_of(rows))
            yield from map(tuple, rows[kept].tolist())

    def extreme(self, sign: int) -> Indices:
        """The cheapest (sign 1) or dearest point (-1).

        Exact unless limits cut off that end of the set and counting does not fit, or several
        limits do: then the best of many draws, improved one position at a time.
        """
        if self._listed is not None:
            return self._listed.extreme(sign)
        ahead = self.limits.rows.get(0, (None, None))[0 if sign > 0 else 1]
        if ahead is None:
            for point in in_order(self.chain, 0, self.limits, sign, _PATIENCE):
                return point
        elif len(self.limits.rows) == 1 and self._halves is not None:
            cost = self._halves.nearest(ahead, sign)
            first = numbered(self._halves, np.zeros(1, dtype=np.int64), cost, cost)
            return tuple(first[0].tolist())
        return self._climbed(sign)

    def threshold(self, fraction: float) -> int:
        """The first cost that the dearest `fraction` of the points reach, one point at least.

        Exact where the points can be listed, or where only the first cost is limited and counting
        fits; else that of the dearest `fraction` of 65,536 draws.
        """
        if self._listed is not None:
            return self._listed.threshold(fraction)
        halves = self._halves_of_first
        if halves is not None:
            return self._counted_threshold(halves, fraction)
        costs = self.chain.cost_of(self.sample(np.random.default_rng(0), _PROBE))[:, 0]
        rank = min(int(np.floor(len(costs) * (1 - fraction))), len(costs) - 1)
        return int(np.partition(costs, rank)[rank])

    def _counted_threshold(self, halves: MeetInTheMiddle, fraction: float) -> int:
        low, high = self.limits.rows.get(0, (None, None))
        # As a fraction of whole numbers, since the count may be beyond any float.
        rank = min(floor(halves.count(low, high) * Fraction(1 - fraction)), self.count - 1)
        least = ToGo.of(self.chain, 0).total if low is None else low
        most = ToGo.of(self.chain, 0, sign=-1).total if high is None else high
        # The least cost that more than `rank` points do not exceed.
        while least < most:
            middle = (least + most) // 2
            if halves.count(low, middle) > rank:
                most = middle
            else:
                least = middle + 1
        return least

    def closest(self, point: Indices) -> Indices:
        """As that of the points listed; where they are not, of 65,536 draws the first that differs
        from `point` at the fewest positions."""
        if self._listed is not None:
            return self._listed.closest(point)
        rows = self.sample(np.random.default_rng(0), _PROBE)
        return tuple(rows[np.argmin((rows != point).sum(axis=1))].tolist())

    def _climbed(self, sign: int) -> Indices:
        rows = self.sample(np.random.default_rng(0), _PROBE)
        while True:
            best = rows[np.argmin(sign * self.chain.cost_of(rows)[:, 0])]
            around = self.chain.changed_once(best)
            costs = self.chain.cost_of(around)
            good = self.chain.allows(around) & self.limits.met_by(costs)
            rows = np.concatenate([best[None], around[good]])
            # `best` is the first row, so it wins ties:
            # the climb goes on only for a strictly better one.
            if (sign * self.chain.cost_of(rows)[:, 0]).argmin() == 0:
                return tuple(best.tolist())

    @cached_property
    def _drawing(self) -> Drawing:
        return Drawing(self.chain, self.limits)

    @cached_property
    def _listed(self) -> Listed | None:
        """The points themselves, where they are few."""
        if not self.limits.rows:
            return None
        drawing = self._drawing
        if drawing.whole and drawing.total <= _MOST_LISTED:
            return Listed(self.chain, drawing.listed())
        if self._rare and self._halves is not None:
            ((_, limit),) = self.limits.rows.items()
            n = self._halves.count(*limit)
            if n <= _MOST_LISTED:
                return Listed(self.chain, numbered(self._halves, np.arange(n), *limit))
        return None

    @cached_property
    def _rare(self) -> bool:
        """Whether draws are hardly ever within the limits (a narrow pair of limits)."""
        return self._drawing.acceptance < _RARE

    @cached_property
    def _halves(self) -> MeetInTheMiddle | None:
        """Of the only limited cost; None where there are several or they do not fit."""
        if len(self.limits.rows) != 1:
            return None
        return self._made(next(iter(self.limits.rows)))

    @cached_property
    def _halves_of_first(self) -> MeetInTheMiddle | None:
        """Of the first cost; None where another is limited or they do not fit."""
        if list(self.limits.rows) == [0]:
            return self._halves
        return None if self.limits.rows else self._made(0)

    def _made(self, row: int) -> MeetInTheMiddle | None:
        try:
            return MeetInTheMiddle(self.chain, row)
        except TooLarge:
            return None
