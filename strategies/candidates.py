"""Which points of a set too large to be scored whole the predictor scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from ..search_space.chain.chain import Ints
from ..search_space.chain.score import with_score
from ..search_space.feasible.by_cost import in_order
from ..search_space.feasible.feasible_set import FeasibleSet
from ..search_space.feasible.limits import Limits
from .features import Floats

# Sizes of the first pool (uniform samples, best sums), how many points are looked around in each
# round, and how many rounds there are at most: together they bound the time of a proposal.
_SAMPLES = 1024
_BY_SUM = 256
_PARENTS = 16
_ROUNDS = 4
_UNIT = 1_000_000
"""Whole steps to the widest spread of a position's effects."""
_PATIENCE = 4_000
"""Beginnings in a row that no feasible point came of before the best sums are given up."""


def best_by_sum(feasible: FeasibleSet[Any], effects: Sequence[Floats], n: int) -> Ints:
    """(at most n, n_positions): the points of the set with the greatest sums of `effects`
    (position -> (n_options,)), exactly, in descending order.

    Fewer where the limits exclude so many with greater sums that looking on would take long.
    """
    # A constant taken off a position's effects changes no order of sums. One common step for all
    # positions, whole since a chain counts in integers: sums are exact up to that rounding.
    widest = max(float(np.ptp(each)) for each in effects) or 1.0
    rows = [np.round((each - each.min()) / widest * _UNIT).astype(int) for each in effects]
    name = "effect"
    chain = with_score(feasible.chain, name, [row.tolist() for row in rows])
    found = in_order(
        chain, chain.costs.index(name), Limits.of(chain, feasible.limits), -1, _PATIENCE
    )
    return np.array(list(islice(found, n)), dtype=np.int64).reshape(-1, len(chain))


def candidates(
    feasible: FeasibleSet[Any],
    effects: Sequence[Floats],
    best: Ints,
    promise: Callable[[Ints], Floats],
    rng: np.random.Generator,
) -> tuple[Ints, Floats]:
    """Points (n, n_positions) and their promise (n,).

    Begins with the best sums of `effects`, exact samples and what is around `best`, the best
    results; then looks around the most promising as long as that finds better ones, a few times.
    """
    around = [feasible.neighbour_indices(row) for row in best[:_PARENTS].tolist()]
    drawn = feasible.sample_indices(rng, _SAMPLES)
    pool = np.unique(
        np.concatenate([drawn, best_by_sum(feasible, effects, _BY_SUM), *around]), axis=0
    )
    scores = promise(pool)
    # scores[i] is of pool[i] throughout: both grow at the end, and each point is scored once.
    for _ in range(_ROUNDS):
        top = np.argsort(-scores, kind="stable")[:_PARENTS]
        known = set(map(tuple, pool.tolist()))
        near = np.concatenate([feasible.neighbour_indices(row) for row in pool[top].tolist()])
        new = [row for row in dict.fromkeys(map(tuple, near.tolist())) if row not in known]
        if not new:
            break
        highest = scores.max()
        pool = np.concatenate([pool, np.array(new)])
        scores = np.concatenate([scores, promise(pool[len(scores) :])])
        if scores.max() <= highest:
            break
    return pool, scores
