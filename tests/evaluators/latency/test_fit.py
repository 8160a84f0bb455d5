"""The correction of sums, and the order of estimates, against what is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from convnas.evaluators.latency.fit import corrected, kendall_tau, relative_errors


def test_a_share_and_each_kinds_cost_of_starting_that_made_the_times_are_found():
    """Networks whose whole takes 0.8 of the sum, less 3 us for a plain piece and 9 for another."""
    rng = np.random.default_rng(0)
    times = {str(i): int(time) for i, time in enumerate(rng.integers(20_000, 90_000, 40))}
    kinds = {key: "plain" if int(key) % 3 else "other" for key in times}
    saved = {"plain": 3000, "other": 9000}
    networks = []
    for i in range(40):
        own = [str(key) for key in rng.choice(40, 2 + i % 4, replace=False)]
        networks.append((own, sum(round(0.8 * times[key]) - saved[kinds[key]] for key in own)))
    found = corrected(times, kinds, networks)
    for key, time in times.items():
        # Shifts are held small, by a twentieth at most of what 40 exact networks say.
        assert found[key] == pytest.approx(0.8 * time - saved[kinds[key]], abs=450)
    assert max(relative_errors(found, networks)) < 0.01
    one_for_all = corrected(times, dict.fromkeys(times, "any"), networks)
    assert max(relative_errors(one_for_all, networks)) > 0.03


def test_no_piece_takes_less_than_no_time_and_the_others_make_up_for_it():
    # Each piece but the tiny one saves 500 ns in a network.
    times = {"tiny": 20, "b": 2000, "c": 1000, "d": 3000}
    networks = [(["tiny", a, b], times[a] + times[b] - 1000) for a, b in ("bc", "cd", "bd")] * 8
    found = corrected(times, dict.fromkeys(times, "any"), networks)
    assert found["tiny"] == 1
    assert max(relative_errors(found, networks)) < 0.02


def test_few_and_equal_networks_give_a_factor():
    found = corrected({"a": 100, "b": 300}, {"a": "x", "b": "x"}, [(["a", "b"], 800)] * 2)
    assert sum(found.values()) == pytest.approx(800, rel=0.01)
    assert min(found.values()) > 0


def test_errors_are_shares_of_what_was_measured():
    assert relative_errors({"a": 90, "b": 20}, [(["a"], 100), (["a", "b"], 100)]) == [
        pytest.approx(0.1),
        pytest.approx(0.1),
    ]


def test_tau_is_kendalls_ties_too():
    rng = np.random.default_rng(1)
    for _ in range(20):
        measured = [int(time) for time in rng.integers(1, 15, 12)]
        times = {str(i): int(time) for i, time in enumerate(rng.integers(1, 15, 12))}
        networks = [([str(i)], time) for i, time in enumerate(measured)]
        expected = kendalltau(list(times.values()), measured).statistic
        assert kendall_tau(times, networks) == pytest.approx(expected)
    assert kendall_tau({"a": 1}, [(["a"], 1), (["a"], 2)]) is None
