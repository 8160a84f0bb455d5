"""Comparing strategies: the same trainings for all, kept, and statistics that can be checked."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import permutation_test, ttest_1samp

from convnas.experiments.analysis.repeated_searches import Reading, Readings, Run
from convnas.experiments.analysis.statistics import at_seconds, band, best_so_far, paired_p
from convnas.experiments.cli import main
from convnas.experiments.config.schema import read_config

Config = dict[str, Any]


def made(*readings: tuple[float | None, float]) -> Run:
    return Run("random", 0, None, [Reading(*one) for one in readings])


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
