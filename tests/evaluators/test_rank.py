from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from convnas.evaluators.rank import agreement, kendall_tau, spearman_rho

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [2, 5, 40])
def test_tau_and_rho_are_scipy_s(n, ties):
    x, y = RNG.normal(size=n), RNG.normal(size=n)
    if ties and n > 2:
        x, y = x.round(), y.round()
    assert kendall_tau(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)
    assert spearman_rho(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)


def test_all_ties_agree_with_nothing():
    assert math.isnan(kendall_tau([1, 1, 1], [1, 2, 3]))
    assert math.isnan(spearman_rho([1, 1, 1], [1, 2, 3]))


def test_the_interval_holds_tau_and_narrows_with_more_pairs():
    x = RNG.normal(size=200)
    y = x + RNG.normal(size=200)
    many, few = agreement(x, y), agreement(x[:20], y[:20])
    for each in (many, few):
        assert -1 <= each.low <= each.tau <= each.high <= 1
    assert many.high - many.low < few.high - few.low
    assert agreement(x, y) == many


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    # Of two normals with correlation r, tau is 2/pi arcsin(r) (Greiner).
    truth = 2 / math.pi * math.asin(0.6)
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=60)
        y = 0.6 * x + 0.8 * rng.normal(size=60)
        found = agreement(x, y, draws=200)
        covered += found.low <= truth <= found.high
    assert covered >= 50
