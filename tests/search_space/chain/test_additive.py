"""A score as a sum over positions: recovered where it is one, judged, exact as a limit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from convnas.search_space import Budget, InputError, SearchSpace
from convnas.search_space.chain.score import SCORE, fitted

SPACE = {
    "backbone": "resnet-cifar",
    "input": [1, 8, 8],
    "classes": 10,
    "stage": {"conv": ["vanilla", "octave", "hetconv"], "alpha": [0.25, 0.5], "p": [2, 4]},
}


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return SearchSpace.from_config(SPACE)


def everything(space: SearchSpace) -> np.ndarray:
    return np.array(list(itertools.product(*map(range, space.chain.shape))))


def test_a_sum_is_found_again(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    effects = [rng.normal(size=n) for n in space.chain.shape]
    points = everything(space)
    truth = sum(row[points[:, i]] for i, row in enumerate(effects))
    chosen = rng.choice(len(points), 60, replace=False)
    fit = fitted(space.chain, points[chosen], truth[chosen])
    assert fit.explained > 0.99
    assert np.corrcoef(fit.of(points), truth)[0, 1] > 0.995
    assert all(min(row) == 0 for row in fit.effects)


def test_what_it_explains_is_what_it_predicts_of_points_left_out(space: SearchSpace) -> None:
    rng = np.random.default_rng(1)
    points = rng.permutation(everything(space))[:40]
    scores = points[:, 0] * points[:, 1] + rng.normal(size=40)
    shape = space.chain.shape
    y = (scores - scores.mean()) / scores.std()
    hot = np.hstack([np.eye(n)[points[:, i]] for i, n in enumerate(shape)])
    hot -= hot.mean(axis=0)
    missed = []
    for i in range(40):
        # With a column of its own, a point no longer pulls at the others' coefficients.
        own = np.zeros((40, 1))
        own[i] = 1
        design = np.hstack([np.ones((40, 1)), hot, own])
        penalty = np.diag([0, *[0.5] * hot.shape[1], 0])
        solved = np.linalg.solve(design.T @ design + penalty, design.T @ y)
        missed.append(solved[-1])
    brute = 1 - sum(value**2 for value in missed) / (y**2).sum()
    assert fitted(space.chain, points, scores).explained == pytest.approx(brute, abs=1e-9)


def test_a_score_that_is_noise_explains_nothing(space: SearchSpace) -> None:
    rng = np.random.default_rng(2)
    points = rng.permutation(everything(space))[:80]
    assert fitted(space.chain, points, rng.normal(size=80)).explained < 0.1


def test_a_limit_on_it_keeps_exactly_the_points_whose_sum_reaches_it(space: SearchSpace) -> None:
    rng = np.random.default_rng(3)
    effects = [rng.integers(0, 1000, n).tolist() for n in space.chain.shape]
    points = everything(space)
    sums = sum(np.array(row)[points[:, i]] for i, row in enumerate(effects))
    least = int(np.median(sums))
    inside = space.scored(SCORE, effects).within(Budget(flops="1M"), least={SCORE: least})
    cheap = space.chain.cost_of(points)[:, 0] <= 10**6
    expected = {tuple(row) for row in points[cheap & (sums >= least)].tolist()}
    assert set(inside.indices_in_order()) == expected
    assert inside.count == len(expected)
    facts = inside.describe(inside.cheapest())
    assert facts[SCORE] >= least
    assert facts["flops"] <= 10**6


def test_effects_of_another_space_are_refused(space: SearchSpace) -> None:
    with pytest.raises(InputError, match=r"zero_cost\.measured"):
        space.scored(SCORE, [[1, 2], [3]])
