"""What is said when no point meets a budget: the nearest one that a point meets."""

from __future__ import annotations

from collections.abc import Callable

from .chain import Chain, Indices
from .errors import InputError
from .extremes import ToGo
from .limits import InfeasibleBudget, Limits

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


def nothing_within(chain: Chain, limits: Limits, noun: str, nearest: list[int]) -> InfeasibleBudget:
    """The error where every limit can be met, but not all together.

    nearest: the costs just below and above a lone pair of limits.
    """
    told = ", ".join(
        f"{chain.costs[row]} from {'any' if low is None else low} to {'any' if high is None else high}"
        for row, (low, high) in limits.rows.items()
    )
    if nearest:
        (row, limit), *_ = limits.rows.items()
        return InfeasibleBudget(
            f"budget.{chain.costs[row]}",
            limit,
            f"no {noun} is between them; the nearest cost {' and '.join(map(str, nearest))}",
            nearest=nearest[0],
        )
    return InfeasibleBudget("budget", told, f"no {noun} meets all these limits together")
