"""What is said when no point meets a budget: the nearest one that a point meets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np

from ..chain.chain import Chain, Indices
from ..errors import InputError
from .by_cost import in_order
from .extremes import ToGo
from .limits import InfeasibleBudget, Limits
from .meet_in_the_middle import MeetInTheMiddle

_PATIENCE = 20_000

Show = Callable[[Indices], str]


def refuse_impossible(chain: Chain, limits: Limits, noun: str, show: Show) -> None:
    """InfeasibleBudget where one limit alone leaves no point; InputError where the space has none.

    noun: what a point is called; show: its text.
    """
    if ToGo.of(chain, 0).blocked:
        raise InputError("space", noun, "no combination of the options can follow one another")
    for row, (low, high) in limits.rows.items():
        key = f"budget.{chain.costs[row]}"
        least, most = ToGo.of(chain, row), ToGo.of(chain, row, sign=-1)
        if high is not None and high < least.total:
            raise InfeasibleBudget(
                key,
                high,
                f"the cheapest {noun} needs {least.total}: {show(least.best())}",
                nearest=least.total,
            )
        if low is not None and low > most.total:
            raise InfeasibleBudget(
                key,
                low,
                f"the dearest {noun} has {most.total}: {show(most.best())}",
                nearest=most.total,
            )


def nothing_within(chain: Chain, limits: Limits, noun: str) -> InfeasibleBudget:
    """The error where each limit can be met, but not all of them together."""
    if len(limits.rows) == 1:
        ((row, (low, high)),) = limits.rows.items()
        halves = MeetInTheMiddle(chain, row)
        ends = ((low, -1), (high, 1))
        found = [halves.nearest(end, sign) for end, sign in ends if end is not None]
        costs = [cost for cost in found if cost is not None]
        return InfeasibleBudget(
            f"budget.{chain.costs[row]}",
            (low, high),
            f"no {noun} is between them; the nearest have {' and '.join(map(str, costs))}",
            nearest=costs[0],
        )
    given = {chain.costs[row]: limit for row, limit in limits.rows.items()}
    needed = dict(_needed(chain, limits))
    told = ", or ".join(f"{name} up to {cost}" for name, cost in needed.items())
    hint = f"; one limit alone would have to allow {told}" if told else ""
    return InfeasibleBudget(
        "budget",
        given,
        f"no {noun} meets all these limits together{hint}",
        nearest=next(iter(needed.values()), None),
    )


def _needed(chain: Chain, limits: Limits) -> Iterator[tuple[str, int]]:
    """For each upper limit: the least it would have to be if the others stay."""
    for row, (_, high) in limits.rows.items():
        others = Limits({other: limit for other, limit in limits.rows.items() if other != row})
        if high is not None:
            # Where patience ends, nothing is told: a hint may be missing but is not wrong.
            for point in islice(in_order(chain, row, others, patience=_PATIENCE), 1):
                yield chain.costs[row], int(chain.cost_of(np.array([point]))[0, row])
