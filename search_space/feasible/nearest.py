"""The point within limits that differs from a given one at the fewest positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..chain.chain import Chain, Indices, Ints
from .extremes import FAR
from .limits import Limits

_MOST_BEGINNINGS = 2_000


def nearest(
    chain: Chain, limits: Limits, point: Indices, *, certain: bool = False
) -> Indices | None:
    """The nearest by the number of changed positions, then by the first cost.

    Beginnings that cannot meet each limit with the changes left are dropped, which for one limit
    leaves only those that can. Where more than 2,000 are left the ones whose cost is nearest are
    followed, so among equally near points the nearest cost is then not certain. With limits on
    both sides or on several costs all of those may lead nowhere: then more changes are tried, or,
    with `certain`, None is returned, as it is where nothing is found.
    """
    given = np.asarray(point, dtype=np.int64)
    bounds = [
        _Bound(chain, row, side, side * end, given)
        for row, ends in limits.rows.items()
        for side, end in ((-1, ends[0]), (1, ends[1]))
        if end is not None
    ]
    for changes in range(len(chain) + 1):
        for bound in bounds:
            bound.allow(changes)
        found, whole = _search(chain, limits, bounds, given, changes)
        if found is not None:
            return found
        if certain and not whole:
            break
    return None


@dataclass
class _Bound:
    """An upper limit on one (signed) cost; `least[k][i]`: to come, with at most k changes."""

    chain: Chain
    row: int
    side: int
    most: int
    given: Ints

    def __post_init__(self) -> None:
        self.least: list[list[Ints]] = []

    def allow(self, changes: int) -> None:
        """Extend `least` to this many changes; they are allowed one after the other."""
        fewer = self.least[changes - 1] if changes else None
        least = [self.side * self.chain.final[self.row]]
        for i in reversed(range(len(self.chain))):
            position = self.chain.positions[i]
            kept = np.arange(position.n_options) == self.given[i]
            following = least[-1][position.state]
            if fewer is None:
                following = np.where(kept, following, FAR)
            else:
                # A kept option leaves all the changes for what follows, another one fewer.
                following = np.where(kept, following, fewer[i + 1][position.state])
            through = self.side * position.cost[self.row] + following
            blocked = ~position.allowed | (following >= FAR)
            least.append(np.where(blocked, FAR, through).min(axis=1))
        self.least.append(least[::-1])

    def meets(self, i: int, state: Ints, left: Ints, cost: Ints) -> np.ndarray:
        """Whether beginnings that reach `i` can end within the limit with `left` changes."""
        table = np.stack([least[i] for least in self.least])
        to_come = table[left, state]
        return (to_come < FAR) & (self.side * cost + to_come <= self.most)


def _search(
    chain: Chain, limits: Limits, bounds: list[_Bound], given: Ints, changes: int
) -> tuple[Indices | None, bool]:
    """The nearest cost with at most so many changes, and whether every beginning was followed."""
    whole = True
    rows = np.zeros((1, 0), dtype=np.int64)
    state, left = np.zeros(1, dtype=np.int64), np.full(1, changes)
    cost = np.zeros((len(chain.costs), 1), dtype=np.int64)
    own, own_state = 0, 0
    for i, position in enumerate(chain.positions):
        n_options = position.n_options
        option = np.tile(np.arange(n_options), len(rows))
        whence = np.repeat(np.arange(len(rows)), n_options)
        before = state[whence]
        left = left[whence] - (option != given[i])
        cost = cost[:, whence] + position.cost[:, before, option]
        state = position.state[before, option]
        good = position.allowed[before, option] & (left >= 0)
        for bound in bounds:
            # Only those still good: -1 changes left would index the last table.
            good[good] = bound.meets(i + 1, state[good], left[good], cost[bound.row][good])
        # What the given point has paid by here, to compare beginnings of the same length with.
        own += int(position.cost[0, own_state, given[i]])
        own_state = int(position.state[own_state, given[i]])
        chosen = np.flatnonzero(good)
        if len(chosen) > _MOST_BEGINNINGS:
            whole = False
            off = np.abs(cost[0, chosen] - own)
            chosen = chosen[np.argsort(off, kind="stable")[:_MOST_BEGINNINGS]]
        rows = np.column_stack([rows[whence[chosen]], option[chosen]])
        state, left, cost = state[chosen], left[chosen], cost[:, chosen]
    if not len(rows):
        return None, whole
    costs = chain.cost_of(rows)
    good = limits.met_by(costs)
    off = np.where(good, np.abs(costs[:, 0] - chain.cost_of(given[None])[0, 0]), FAR)
    return (tuple(rows[np.argmin(off)].tolist()) if good.any() else None), whole
