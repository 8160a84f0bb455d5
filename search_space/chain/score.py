"""A score that was measured on some points of a chain, as a sum over its positions.

Fitted as a sum, a score becomes one more exact cost of the chain: it can be limited, counted and
drawn from like flops. How much of the score a sum explains is said with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .chain import Chain, Ints

Floats = NDArray[np.float64]

SCORE = "zero_cost"
"""The cost's name in a chain whose predictor is to learn from it."""
_UNIT = 1_000_000
"""Integers to one standard deviation of the score."""
_RIDGE = 0.5
"""Added to every option's number of measurements: rarely seen options stay near the mean."""


@dataclass(frozen=True)
class Additive:
    """effects: (n_options,) for each position, integers >= 0, a million to a standard deviation.

    explained: the share of the score's variance that the sum predicts on points left out of the
    fit (leave-one-out R^2; below 0 where it predicts worse than their mean).
    """

    effects: tuple[tuple[int, ...], ...]
    explained: float

    def of(self, indices: Ints) -> Ints:
        """(n, n_positions) -> (n,) predicted scores."""
        columns = [np.array(row)[indices[:, i]] for i, row in enumerate(self.effects)]
        return np.asarray(np.sum(columns, axis=0), dtype=np.int64)


def fitted(chain: Chain, indices: Ints, scores: Sequence[float] | Floats) -> Additive:
    """Ridge regression of `scores` (n,) on the options (n, n_positions) that were chosen."""
    y = np.asarray(scores, np.float64)
    y = (y - y.mean()) / (y.std() or 1.0)
    starts = np.cumsum([0, *chain.shape])
    chosen = np.zeros((len(y), starts[-1]))
    np.put_along_axis(chosen, indices + starts[:-1], 1.0, axis=1)
    # Around the mean, so that an option never seen adds nothing.
    centred = chosen - chosen.mean(axis=0)
    solved = np.linalg.solve(centred.T @ centred + _RIDGE * np.eye(starts[-1]), centred.T)
    weights = solved @ y
    # Leave-one-out residuals without refitting: residual / (1 - influence), where influence is
    # the diagonal of the hat matrix; the fitted mean adds 1 / n to it.
    influence = np.einsum("ij,ji->i", centred, solved) + 1 / len(y)
    left_out = (y - centred @ weights) / np.maximum(1 - influence, 1e-9)
    explained = 1 - float((left_out**2).sum() / max(float((y**2).sum()), 1e-12))
    effects = []
    for start, end in pairwise(starts):
        # Each position counts from its least effect, which shifts every point's score alike.
        row = np.round(_UNIT * weights[start:end]).astype(np.int64)
        effects.append(tuple((row - row.min()).tolist()))
    return Additive(tuple(effects), explained)


def with_score(chain: Chain, name: str, effects: Sequence[Sequence[int]]) -> Chain:
    """The chain with the row `name`, whatever state an option follows.

    InputError where `effects` are not those of this chain's options.
    """
    if tuple(map(len, effects)) != chain.shape:
        raise InputError(f"{name}.measured", "this table", "it is of another space: measure again")
    positions = []
    for position, row in zip(chain.positions, effects, strict=True):
        added = np.tile(np.array(row, dtype=np.int64), (1, position.n_states_before, 1))
        positions.append(replace(position, cost=np.concatenate([position.cost, added])))
    final = np.concatenate([chain.final, np.zeros_like(chain.final[:1])])
    return Chain(tuple(positions), final, (*chain.costs, name))
