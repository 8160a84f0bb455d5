"""The least of one cost under a limit on another, against every point written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from convnas.search_space.chain.chain import Chain, Position
from convnas.search_space.feasible.least_sum import least_sum


def chain_of(rng: np.random.Generator) -> Chain:
    """Two costs, two states, some steps forbidden."""
    positions = []
    for i in range(5):
        before, options = (1 if i == 0 else 2), int(rng.integers(2, 5))
        allowed = rng.random((before, options)) < 0.8
        allowed[:, 0] = True
        positions.append(
            Position(
                name=f"p{i}",
                factors={f"p{i}": tuple(range(options))},
                options=np.arange(options)[:, None],
                cost=rng.integers(-3, 20, (2, before, options)),
                allowed=allowed,
                state=rng.integers(0, 2, (before, options)),
            )
        )
    return Chain(tuple(positions), rng.integers(0, 9, (2, 2)), ("flops", "error"))


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_best_of_all_points(seed) -> None:
    rng = np.random.default_rng(seed)
    chain = chain_of(rng)
    points = np.array(list(itertools.product(*map(range, chain.shape))))
    points = points[chain.allows(points)]
    costs = chain.cost_of(points)
    for most in (int(costs[:, 0].min()) - 1, int(np.median(costs[:, 0])), int(costs[:, 0].max())):
        inside = costs[costs[:, 0] <= most]
        found = least_sum(chain, 1, 0, most)
        if not len(inside):
            assert found is None
            continue
        best = inside[:, 1].min()
        flops, error = chain.cost_of(np.array([found]))[0]
        assert chain.allows(np.array([found]))[0]
        assert (error, flops) == (best, inside[inside[:, 1] == best][:, 0].min())
