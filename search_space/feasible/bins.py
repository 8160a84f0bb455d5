"""Costs in whole bins: a chain's limits on a grid coarse enough for dynamic programming.

Every step's cost is first reduced by what is the least from its state on (so the cheapest way
costs 0 everywhere), then floored to bins. The bins of a point add up to at most its true cost and
to less than it plus one bin for each rounded step, so the grid keeps every point within the limits
(`outer`), knows some to be within them (`inner`), and a draw is settled by its true cost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..chain.chain import Chain, Ints
from .extremes import ToGo
from .limits import Limits

Window = tuple[int, int]
Weights = NDArray[np.float64]

_ROUNDING = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class FloorGrid:
    """bins: how many along each limited cost.

    offsets[i]: (n_limited, n_states, n_options) bins that a step adds; a step that is not allowed
    or leaves the grid adds `bins`. exact: whether no limited cost was rounded. outer, inner: for
    each limited cost the sums of bins (first, last) that may, and that must, be within the limits.
    """

    chain: Chain
    bins: tuple[int, ...]
    offsets: tuple[Ints, ...]
    exact: bool
    outer: tuple[Window, ...]
    inner: tuple[Window, ...]

    @classmethod
    def of(cls, chain: Chain, limits: Limits, most_bins: int) -> FloorGrid:
        """With at most `most_bins` bins in all. Every limit must be met by some point."""
        each = max(2, int(most_bins ** (1 / max(1, len(limits.rows)))))
        axes = [_Axis.of(chain, row, limits, each) for row in limits.rows]
        if not axes:  # one bin, which everything is in
            free = [np.zeros(position.allowed.shape, np.int64) for position in chain.positions]
            axes = [_Axis(1, free, True, (0, 0), (0, 0))]
        offsets = tuple(np.stack([axis.offsets[i] for axis in axes]) for i in range(len(chain)))
        return cls(
            chain,
            tuple(axis.bins for axis in axes),
            offsets,
            all(axis.exact for axis in axes),
            tuple(axis.outer for axis in axes),
            tuple(axis.inner for axis in axes),
        )

    def ends(self, window: tuple[Window, ...]) -> NDArray[np.bool_]:
        """(*bins,) whether a sum of bins is in the window."""
        inside = np.ones(self.bins, dtype=np.bool_)
        for axis, (first, last) in enumerate(window):
            along = np.arange(self.bins[axis])
            shape = [-1 if a == axis else 1 for a in range(len(self.bins))]
            inside &= ((along >= first) & (along <= last)).reshape(shape)
        return inside

    def steps(self, i: int) -> list[tuple[int, int, tuple[slice, ...], tuple[slice, ...]]]:
        """The steps at position `i` that stay on the grid: state, option, and the bins they join.

        The bins are two views of a (*bins,) array: where the step starts and where it ends.
        """
        joined = []
        position = self.chain.positions[i]
        for state, option in np.argwhere(position.allowed).tolist():
            by = self.offsets[i][:, state, option].tolist()
            if all(b < size for b, size in zip(by, self.bins, strict=True)):
                start = tuple(slice(0, n - b) for b, n in zip(by, self.bins, strict=True))
                end = tuple(slice(b, None) for b in by)
                joined.append((state, option, start, end))
        return joined

    def count_bounds(self) -> tuple[int, int]:
        """An interval that certainly holds the number of points within the limits."""
        ways: list[Weights] = [np.zeros(self.bins)]
        ways[0][(0,) * len(self.bins)] = 1
        additions = 0
        for i, position in enumerate(self.chain.positions):
            arriving = ways
            ways = [np.zeros(self.bins) for _ in range(self.chain.n_states(i + 1))]
            for state, option, start, end in self.steps(i):
                ways[position.state[state, option]][end] += arriving[state][start]
            additions += position.allowed.size
        total = np.sum(ways, axis=0)
        # Every term is positive, so the relative error is at most that of each addition in turn.
        error = _ROUNDING * (additions + total.size)
        low = float(total[self.ends(self.inner)].sum()) * (1 - error)
        high = float(total[self.ends(self.outer)].sum()) * (1 + error)
        return max(0, math.ceil(low)), math.floor(high)


@dataclass(frozen=True, eq=False)
class _Axis:
    """One limited cost in bins."""

    bins: int
    offsets: list[Ints]
    exact: bool
    outer: Window
    inner: Window

    @classmethod
    def of(cls, chain: Chain, row: int, limits: Limits, most_bins: int) -> _Axis:
        least, most = ToGo.of(chain, row), ToGo.of(chain, row, sign=-1)
        low, high = limits.rows[row]
        reach = most.total - least.total
        last = reach if high is None else min(reach, high - least.total)
        first = 0 if low is None else max(0, low - least.total)
        reduced = [least.reduced(i) for i in range(len(chain))]
        # A step beyond the limit by itself is in no point within it, so it may not set the width.
        possible = [step[step <= last] for step in reduced]
        unit = int(np.gcd.reduce(np.concatenate(possible))) or 1
        # Bins as wide as the steps' common divisor lose nothing. Else the + 1 keeps the bins,
        # last // width + 1, to at most `most_bins`.
        width = unit if last // unit < most_bins else last // most_bins + 1
        # What flooring can lose of a point's cost, all steps together.
        lost = sum(int((step % width).max(initial=0)) for step in possible)
        bins = last // width + 1
        # A point of b bins costs from b * width to b * width + lost, which gives both windows;
        # -(-x // y) rounds up.
        return cls(
            bins,
            [np.where(step <= last, step // width, bins) for step in reduced],
            lost == 0,
            (max(0, -((lost - first) // width)), bins - 1),
            (-(-first // width), bins - 1 if last == reach else (last - lost) // width),
        )
