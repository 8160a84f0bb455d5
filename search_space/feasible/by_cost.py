"""The points of a chain in order of one cost, the next one whenever it is wanted.

Lawler's scheme for the k best ways: a heap of beginnings, each standing for the best point that
has it. Taking one out puts in the next best option at its last position, and at every later
position the second best. With costs reduced by what is least to come the best is always at hand.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from ..chain.chain import Chain, Indices
from .extremes import FAR, ToGo
from .limits import Limits

Ranked = list[tuple[int, int]]
"""(reduced cost, option), ascending."""
Table = list[list[int]]


def in_order(
    chain: Chain, row: int, limits: Limits, sign: int = 1, patience: int | None = None
) -> Iterator[Indices]:
    """The points within `limits`, ascending in the cost `row` (sign -1: descending).

    Starts at the very cheapest (dearest) and passes over what is outside the limits, so it is
    quick where the limits do not exclude that end. Beginnings that no limit can be met from are
    dropped at once. patience: how many beginnings in a row may lead nowhere before it ends.
    """
    togo = ToGo.of(chain, row, sign)
    if togo.blocked:
        return
    ranked = [_ranked(togo, i) for i in range(len(chain))]
    hopeless = _Hopeless(chain, limits, row, sign)
    far = _reach(togo, row, limits)
    states = [position.state.tolist() for position in chain.positions]
    # (reduced cost so far, options so far, state before the last of them, its rank there)
    heap: list[tuple[int, Indices, int, int]] = [(0, (ranked[0][0][0][1],), 0, 0)]
    in_vain = 0
    # `above` is the cost of the best completion of `begun`: the best option at each later position
    # adds 0. So what is taken out next is never better than what was yielded before.
    while heap and (patience is None or in_vain < patience):
        in_vain += 1
        above, begun, state, rank = heapq.heappop(heap)
        here = ranked[len(begun) - 1][state]
        # First, since it may meet the limits even where `begun` is hopeless.
        if rank + 1 < len(here):
            following, option = here[rank + 1]
            sibling = above - here[rank][0] + following
            if sibling <= far:
                heapq.heappush(heap, (sibling, (*begun[:-1], option), state, rank + 1))
        while not hopeless(begun) and len(begun) < len(chain):
            state = states[len(begun) - 1][state][begun[-1]]
            here = ranked[len(begun)][state]
            if len(here) > 1 and above + here[1][0] <= far:
                heapq.heappush(heap, (above + here[1][0], (*begun, here[1][1]), state, 1))
            begun = (*begun, here[0][1])
        if len(begun) == len(chain) and not hopeless(begun):
            in_vain = 0
            yield begun


def _ranked(togo: ToGo, i: int) -> list[Ranked]:
    """State -> its allowed options by reduced cost."""
    reduced = togo.reduced(i)
    return [
        sorted((cost, option) for option, cost in enumerate(costs) if cost < FAR)
        for costs in reduced.tolist()
    ]


def _reach(togo: ToGo, row: int, limits: Limits) -> int:
    """The greatest reduced cost within the limit that lies ahead, which some point must meet."""
    low, high = limits.rows.get(row, (None, None))
    ahead = high if togo.sign > 0 else low
    return int(FAR) if ahead is None else abs(ahead - togo.total)


class _Hopeless:
    """Whether some limit cannot be met by any point with the given beginning.

    The limit that lies ahead in the order is left to the caller.
    """

    def __init__(self, chain: Chain, limits: Limits, row: int, sign: int) -> None:
        self._next = [position.state.tolist() for position in chain.positions]
        self._limits: list[tuple[list[Table], list[list[int]], int]] = []
        for limited, ends in limits.rows.items():
            # A lower limit is an upper one on the negated costs.
            for side, end in ((-1, ends[0]), (1, ends[1])):
                if end is not None and (limited, side) != (row, sign):
                    costs = [(side * p.cost[limited]).tolist() for p in chain.positions]
                    least = [to_come.tolist() for to_come in ToGo.of(chain, limited, side).least]
                    self._limits.append((costs, least, side * end))

    def __call__(self, begun: Indices) -> bool:
        for costs, least, most in self._limits:
            state = cost = 0
            for i, option in enumerate(begun):
                cost += costs[i][state][option]
                state = self._next[i][state][option]
            if cost + least[len(begun)][state] > most:
                return True
        return False
