from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from convnas.experiments.analysis.agreement import agreement, kendall_tau

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [2, 5, 40])
def test_tau_is_scipy_s(n, ties):
    x, y = RNG.normal(size=n), RNG.normal(size=n)
    if ties and n > 2:
        x, y = x.round(), y.round()
    assert kendall_tau(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)


def test_all_ties_agree_with_nothing():
    found = agreement([1, 1, 1], [1, 2, 3])
    assert math.isnan(found.tau)
    assert math.isnan(found.low)


def test_the_interval_is_of_95_per_cent_and_pairs_stay_pairs():
    # Of a mean it is the mean and 1.96 standard errors each way, up to the draws' own noise.
    x = RNG.normal(size=400)
    y = x + RNG.normal(size=400)
    of_differences = agreement(x, y, measure=lambda a, b: float((a - b).mean()), draws=4000)
    half = stats.norm.ppf(0.975) * (x - y).std() / 20
    middle = (x - y).mean()
    assert of_differences.low == pytest.approx(middle - half, abs=0.07 * half)
    assert of_differences.high == pytest.approx(middle + half, abs=0.07 * half)


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
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=60)
        y = 0.6 * x + 0.8 * rng.normal(size=60)
        found = agreement(x, y, draws=100)
        covered += found.low <= truth <= found.high
    assert covered >= 33
