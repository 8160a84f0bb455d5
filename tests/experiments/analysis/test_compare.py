"""Comparing strategies: the same trainings for all, kept, and statistics that can be checked."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import permutation_test, ttest_1samp

import convnas
from convnas.evaluators.table import Table
from convnas.experiments import read_config
from convnas.experiments.analysis.compare_report import said
from convnas.experiments.analysis.repeated_searches import Reading, Readings, Run
from convnas.experiments.analysis.statistics import (
    Truth,
    at_seconds,
    band,
    best_so_far,
    holm,
    least_repeats,
    paired_p,
    summary,
)
from convnas.experiments.cli import main
from convnas.search_space import Architecture

Config = dict[str, Any]
TABLE = Path(convnas.__file__).parent / "experiments" / "configs" / "digits-table.yaml"


def made(
    *readings: tuple[float | None, float], strategy: str = "random", seed: int = 0, tried: Any = ()
) -> Run:
    return Run(strategy, seed, None, [Reading(*one) for one in readings], list(tried))


ENDS = [0.1, 0.5, 0.3, 0.9, 0.2, 0.7, 0.4, 0.8]


@pytest.mark.parametrize("ahead", [0.001, -0.001])
def test_repeats_are_pairs_whatever_their_order_and_p_has_two_sides(ahead: float) -> None:
    # A difference that is the same in all of n pairs: 2 of 2^n flips are as far out. Between
    # repeats that are no pairs it would drown.
    runs = [made((end, 1.0), seed=seed) for seed, end in enumerate(ENDS)]
    runs += [
        made((end + ahead, 1.0), strategy="tpe", seed=seed)
        for seed, end in reversed(list(enumerate(ENDS)))
    ]
    found = summary(runs, 1)["strategies"]["tpe"]
    assert found["above_random"] == pytest.approx(ahead)
    assert found["above_random_half_interval_95"] == pytest.approx(0, abs=1e-6)
    assert found["p"] == found["p_corrected"] == pytest.approx(2 / 2 ** len(ENDS))


def test_p_is_corrected_for_the_number_of_comparisons() -> None:
    # R: p.adjust(c(.01, .04, .03, .005), "holm").
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@pytest.mark.parametrize("comparisons", [1, 3, 8])
def test_the_fewest_repeats_that_can_tell_apart_can(comparisons: int) -> None:
    enough = least_repeats(comparisons)
    for repeats in (enough, enough - 1):
        ps = holm([paired_p([1.0] * repeats)] * comparisons)
        assert (max(ps) < 0.05) == (repeats == enough)


def test_too_few_repeats_and_who_is_not_told_apart_are_said() -> None:
    def of(repeats: int) -> dict[str, Any]:
        return summary(
            [
                made((0.5 + above + 0.01 * (seed % 2), 1.0), strategy=name, seed=seed)
                for name, above in (("random", 0), ("tpe", 0.3), ("evolution", 0.3001))
                for seed in range(repeats)
            ],
            1,
        )

    few = said(of(5))
    # 2 comparisons of 2 / 2^5 each.
    assert "cannot fall below 0.125; ask for --repeats 7 or more" in few[0]
    runs = of(8)
    for name, one in runs["strategies"].items():
        assert one["p_of_best"] == (None if name == "evolution" else pytest.approx(2 / 2**8))
    assert said(runs) == ["by the highest readings: evolution is told apart from all others"]
    noise = [0.3, -0.2, 0.1, -0.3, 0.2, -0.1, 0.25, -0.2]
    tied = summary(
        [
            made((0.5 + (d if name == "tpe" else 0), 1.0), strategy=name, seed=seed)
            for name in ("random", "tpe")
            for seed, d in enumerate(noise)
        ],
        1,
    )
    assert "tpe ends best, and is not told apart from random" in said(tied)[0]


def test_by_a_table_s_means_the_winner_is_judged_not_its_lucky_reading() -> None:
    # What was read the highest, .9, is a .6 in truth; the rival's .8 is a .7.
    means = {"lucky": 0.6, "solid": 0.7, "poor": 0.1}
    truth = Truth(3, 0.75, lambda one: means[str(one)])
    runs = [
        made((0.2, 1.0), (high, 1.0), (0.3, 1.0), strategy=name, seed=seed, tried=tried)
        for name, high, tried in (
            ("random", 0.8, ("poor", "solid", "poor")),
            ("tpe", 0.9, ("poor", "lucky", "poor")),
        )
        for seed in range(6)
    ]
    found = summary(runs, 3, truth)
    tpe = found["strategies"]["tpe"]
    assert tpe["above_random"] == pytest.approx(0.1)
    assert tpe["by_mean"]["above_random"] == pytest.approx(-0.1)
    assert tpe["by_mean"]["p"] == pytest.approx(2 / 2**6)
    assert tpe["by_mean"]["regret_and_half_interval_95"] == pytest.approx([0.15, 0], abs=1e-6)
    assert found["table"] == {"seeds": 3, "best_mean": 0.75}


def test_the_best_so_far_passes_over_failures_and_stays_once_all_is_tried() -> None:
    run = made((None, 1.0), (0.5, 1.0), (0.4, 2.0), (None, 1.0), (0.7, 1.0))
    curve = best_so_far(run, 7)
    assert np.isnan(curve[0])
    assert curve[1:].tolist() == [0.5, 0.5, 0.5, 0.7, 0.7, 0.7]
    grid = np.array([0.0, 1.9, 2.0, 5.9, 6.0, 99.0])
    in_time = at_seconds(run, grid)
    assert np.isnan(in_time[:2]).all()
    assert in_time[2:].tolist() == [0.5, 0.5, 0.7, 0.7]


def test_the_band_is_student_s_and_p_that_of_scipy_s_permutations() -> None:
    rng = np.random.default_rng(0)
    curves = rng.normal(0.4, 1.0, (9, 3))
    mean, half = band(curves)
    interval = ttest_1samp(curves, 0.0, axis=0).confidence_interval(0.95)
    np.testing.assert_allclose(mean - half, interval.low)
    np.testing.assert_allclose(mean + half, interval.high)
    for column in curves.T:
        other = permutation_test(
            (column,), np.sum, permutation_type="samples", n_resamples=np.inf
        ).pvalue
        assert paired_p(column.tolist()) == pytest.approx(other)


def test_many_pairs_are_drawn_and_agree_with_the_exact_count() -> None:
    differences = np.random.default_rng(1).normal(0.3, 1.0, 16)
    exact = permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert paired_p(differences.tolist()) == pytest.approx(exact, abs=0.015)


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "readings.jsonl"
    readings = Readings(path)
    readings.keep("a", 1, Reading(0.5, 2.0))
    readings.keep("b", 1, Reading(None, 1.0))
    path.write_text(path.read_text() + '{"key": "c", "se')
    again = Readings(path)
    again.keep("c", 2, Reading(0.25, 3.0))
    kept = Readings(path)
    assert kept.get("a", 1) == Reading(0.5, 2.0)
    assert kept.get("b", 1) == Reading(None, 1.0)
    assert kept.get("c", 2) == Reading(0.25, 3.0)
    assert kept.get("c", 1) is None


def test_a_comparison_trains_everything_once_and_always_has_random(
    scripted: Config,
    write: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, out = write(scripted), tmp_path / "compared"
    command = ["compare", path, "--strategies", "exhaustive", "--repeats", "3", "--trials", "5"]
    assert main([*command, "-o", str(out), "--workers", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["strategies"]) == ["exhaustive", "random"]
    assert (result["trials"], result["repeats"]) == (5, 3)
    lines = [json.loads(line) for line in (out / "readings.jsonl").read_text().splitlines()]
    trained = [(line["key"], line["seed"]) for line in lines]
    assert len(trained) == len(set(trained)) <= 30
    # Each repeat has a seed of its own, in its trainings and in its strategy.
    assert {line["seed"] for line in lines} == {0, 1, 2}
    tried = [frozenset(key for key, of in trained if of == seed) for seed in (0, 1, 2)]
    assert len(set(tried)) == 3
    # The scripted score depends on the architecture alone, and exhaustive on nothing at all.
    read = read_config(scripted)
    cheapest = itertools.islice(read.feasible(read.search_space()), 5)
    best = max(int(architecture.key, 16) / 16**16 for architecture in cheapest)
    exhaustive = result["strategies"]["exhaustive"]
    assert exhaustive["ends"] == pytest.approx([best] * 3, abs=1e-6)
    means = [np.mean(result["strategies"][name]["ends"]) for name in ("exhaustive", "random")]
    assert exhaustive["above_random"] == pytest.approx(means[0] - means[1], abs=1e-6)
    assert (out / "compare.png").stat().st_size > 10_000
    assert "| exhaustive |" in (out / "compare.md").read_text()
    record = (tmp_path / "record.txt").read_text()
    assert len(record.splitlines()) == len(trained)
    assert main([*command, "-o", str(out)]) == 0
    assert "reaches random's end" in capsys.readouterr().out
    assert (tmp_path / "record.txt").read_text() == record


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--strategies", "randon"], "did you mean 'random'?"),
        (["--strategies", "tpe", "--repeats", "1"], "repeats: 1"),
        (["--strategies", "tpe", "--trials", "0"], "trials"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    scripted: Config,
    write: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    says: str,
) -> None:
    assert main(["compare", write(scripted), *options, "-o", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err


def test_on_a_table_winners_are_also_compared_by_the_mean_of_its_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {**read_config(TABLE).model_dump(mode="json"), "budget": {"flops": "500K"}}
    path, out = tmp_path / "table.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(config))
    argv = ["compare", str(path), "--strategies", "exhaustive", "--repeats", "3", "--trials", "4"]
    assert main([*argv, "-o", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    read = read_config(path)
    feasible = read.feasible(read.search_space())
    table = Table.load("digits")

    def scores(arch: Architecture) -> list[float]:
        return [row.epochs[-1]["accuracy"] for row in table.of(arch) or ()]

    best = max(float(np.mean(scores(arch))) for arch in feasible)
    first = list(itertools.islice(feasible, 4))
    winners = [max(first, key=lambda arch: scores(arch)[seed]) for seed in range(3)]
    regret = np.mean([best - np.mean(scores(arch)) for arch in winners])
    by_mean = result["strategies"]["exhaustive"]["by_mean"]
    assert result["table"] == {"seeds": 3, "best_mean": pytest.approx(best, abs=1e-6)}
    assert by_mean["regret_and_half_interval_95"][0] == pytest.approx(regret, abs=1e-6)
    assert "regret by the mean" in (out / "compare.md").read_text()
