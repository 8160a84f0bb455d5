"""The cheapest and the dearest way through a chain, by dynamic programming from the right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..chain.chain import Chain, Indices, Ints

FAR = np.int64(2**62)
"""Stands for "no way": beyond every sum of costs."""


@dataclass(frozen=True)
class ToGo:
    """`least[i][s]`: the least cost still to come when state `s` arrives at position `i`.

    `least[len(chain)]` is the final cost. FAR where no way leads to the end. With `sign` -1 all
    costs are negated: the greatest cost to come is `-least`.
    """

    chain: Chain
    cost: int
    sign: int
    least: tuple[Ints, ...]

    @classmethod
    def of(cls, chain: Chain, cost: int, sign: int = 1) -> ToGo:
        """For the cost of this row; sign 1: the cheapest, -1: the dearest."""
        least: list[Ints] = [sign * chain.final[cost]]
        for position in reversed(chain.positions):
            following = least[-1][position.state]
            through = np.minimum(sign * position.cost[cost] + following, FAR)
            # `following` tells what is blocked, since a negative cost brings FAR below itself.
            blocked = ~position.allowed | (following >= FAR)
            least.append(np.where(blocked, FAR, through).min(axis=1))
        return cls(chain, cost, sign, tuple(reversed(least)))

    @property
    def total(self) -> int:
        """The cost of the best point (not negated); meaningless where `blocked`."""
        return self.sign * int(self.least[0][0])

    @property
    def blocked(self) -> bool:
        """Whether the chain has no point at all."""
        return bool(self.least[0][0] >= FAR)

    def reduced(self, i: int) -> Ints:
        """(n_states, n_options) what a step at position `i` costs above the best from its state.

        Never negative; FAR where the step is not allowed or leads nowhere. The steps of a point
        add up to its (signed) cost less that of the best point.
        """
        position = self.chain.positions[i]
        before, following = self.least[i], self.least[i + 1][position.state]
        good = position.allowed & (before < FAR)[:, None] & (following < FAR)
        above = self.sign * position.cost[self.cost] + following - before[:, None]
        return np.where(good, above, FAR)

    def best(self) -> Indices:
        """The best point; of equals the one whose options come first."""
        state, chosen = 0, []
        for i, position in enumerate(self.chain.positions):
            following = self.least[i + 1][position.state[state]]
            through = self.sign * position.cost[self.cost, state] + following
            through = np.where(position.allowed[state] & (following < FAR), through, FAR)
            option = int(np.argmin(through))
            chosen.append(option)
            state = int(position.state[state, option])
        return tuple(chosen)
