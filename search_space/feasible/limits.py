"""Limits on the costs of a chain, by row, and the error when no point meets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..budget import Limit
from ..chain.chain import Bools, Chain, Ints
from ..errors import InputError, unknown_name
from .extremes import ToGo


class InfeasibleBudget(InputError):
    """No point meets the limits. `nearest` is the nearest budget that a point meets (or None)."""

    def __init__(self, key: str, value: object, allowed: str, nearest: int | None = None) -> None:
        super().__init__(key, value, allowed)
        self.nearest = nearest


@dataclass(frozen=True)
class Limits:
    """rows: row of the cost arrays -> (least, greatest), both included, None for no limit."""

    rows: dict[int, Limit]

    @classmethod
    def of(cls, chain: Chain, limits: Mapping[str, Limit]) -> Limits:
        """By row instead of by name; what limits nothing is dropped. InputError: unknown name."""
        for name in limits:
            if name not in chain.costs:
                raise unknown_name("budget", name, chain.costs)
        named = {chain.costs.index(name): limit for name, limit in limits.items()}
        return cls({row: limit for row, limit in sorted(named.items()) if limit != (None, None)})

    def binding(self, chain: Chain) -> Limits:
        """Only the ends that some point does not meet anyway."""
        rows: dict[int, Limit] = {}
        for row, (low, high) in self.rows.items():
            least, most = ToGo.of(chain, row).total, ToGo.of(chain, row, sign=-1).total
            ends = (
                None if low is None or low <= least else low,
                None if high is None or high >= most else high,
            )
            if ends != (None, None):
                rows[row] = ends
        return Limits(rows)

    def met_by(self, costs: Ints) -> Bools:
        """(n, n_costs) -> (n,)."""
        good = np.ones(len(costs), dtype=np.bool_)
        for row, (low, high) in self.rows.items():
            if low is not None:
                good &= costs[:, row] >= low
            if high is not None:
                good &= costs[:, row] <= high
        return good
