"""The points with a cost in a window, by number, from the halves' sums."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..chain.chain import Ints
from .meet_in_the_middle import MeetInTheMiddle, Sums, window

_WINDOW_POINTS = 50_000


def numbered(halves: MeetInTheMiddle, numbers: Ints, low: int | None, high: int | None) -> Ints:
    """(n,) numbers below `halves.count(low, high)`, itself below 2**62 -> (n, n_positions).

    Every point that costs from `low` to `high` has exactly one number.
    """
    rows = np.zeros((len(numbers), len(halves.chain)), dtype=np.int64)
    offset = 0
    for state, left, right in halves.joined():
        # Numbers run by state at the cut, then left cost, then way to it, then way on the right.
        before = right.ways_before()
        first, last = window(left, right, low, high)
        partners = before[last] - before[first]
        pairs = (np.where(partners > 0, left.ways, 0) * partners).astype(np.int64)
        up_to = np.concatenate([[0], np.cumsum(pairs)])
        mine = np.flatnonzero((numbers >= offset) & (numbers < offset + up_to[-1]))
        number = numbers[mine] - offset
        offset += int(up_to[-1])
        at = np.searchsorted(up_to, number, "right") - 1
        left_way, right_way = np.divmod(number - up_to[at], partners[at].astype(np.int64))
        # From a number within the window to one among all ways of the right half, then to the cost
        # it falls to and the way to that cost.
        right_way += before[first[at]].astype(np.int64)
        there = np.searchsorted(before, right_way, "right") - 1
        right_way -= before[there].astype(np.int64)
        states = np.full(len(mine), state)
        options = rows[mine]
        _trace_left(halves, options, states, left.costs[at], left_way)
        _trace_right(halves, options, states, right.costs[there], right_way)
        rows[mine] = options
    return rows


def in_windows(halves: MeetInTheMiddle, low: int, high: int | None) -> Iterator[Ints]:
    """The points that cost from `low` to `high` in ascending order, some thousands at a time."""
    found = halves.nearest(low, 1)
    last = halves.nearest(2**62, -1) if high is None else halves.nearest(high, -1)
    width = 1
    while found is not None and last is not None and found <= last:
        end = min(found + width - 1, last)
        n = halves.count(found, end)
        if n > _WINDOW_POINTS and width > 1:
            width = max(1, width * _WINDOW_POINTS // (2 * n))
            continue
        # Several slices only at width 1, where all cost alike, so sorting within each is enough.
        for start in range(0, n, _WINDOW_POINTS):
            numbers = np.arange(start, min(n, start + _WINDOW_POINTS))
            rows = numbered(halves, numbers, found, end)
            costs = halves.chain.cost_of(rows)[:, halves.row]
            yield rows[np.argsort(costs, kind="stable")]
        width = max(1, width * 8 if n < _WINDOW_POINTS // 8 else width)
        found = halves.nearest(end + 1, 1)


def _trace_left(halves: MeetInTheMiddle, rows: Ints, state: Ints, cost: Ints, way: Ints) -> None:
    """Fill in the options before the cut of ways of this state and cost at the cut."""
    for i in reversed(range(halves.cut)):
        going = [
            (after, before, option, halves.lefts[i][before], added)
            for before, option, after, added in halves.steps(i)
        ]
        rows[:, i], state, cost, way = _step(going, state, cost, way)


def _trace_right(halves: MeetInTheMiddle, rows: Ints, state: Ints, cost: Ints, way: Ints) -> None:
    """Fill in the options from the cut on; `cost` is what is still to be paid, the end included."""
    for i in range(halves.cut, len(halves.chain)):
        going = [
            (before, after, option, halves.rights[i + 1][after], added)
            for before, option, after, added in halves.steps(i)
        ]
        rows[:, i], state, cost, way = _step(going, state, cost, way)


def _step(
    going: list[tuple[int, int, int, Sums, int]], state: Ints, cost: Ints, way: Ints
) -> tuple[Ints, Ints, Ints, Ints]:
    """One position: which step each way takes, and its state, cost and number beyond it.

    going: steps as (state here, state beyond, option, sums beyond, cost).
    """
    options, beyond, left = np.full(len(state), -1), state.copy(), cost.copy()
    way = way.copy()
    for here, there, option, sums, added in going:
        mine = np.flatnonzero((options < 0) & (state == here))
        if not len(mine) or not len(sums.costs):
            continue
        wanted = cost[mine] - added
        at = np.minimum(np.searchsorted(sums.costs, wanted), len(sums.costs) - 1)
        ways = np.where(sums.costs[at] == wanted, sums.ways[at], 0).astype(np.int64)
        # A way's number runs through the steps in turn; it goes to the first whose ways exceed it.
        taken = way[mine] < ways
        way[mine] -= np.where(taken, 0, ways)
        chosen = mine[taken]
        options[chosen], beyond[chosen], left[chosen] = option, there, wanted[taken]
    return options, beyond, left, way
