"""NNI's NAS strategies as ours: what each is known to do shows in the points it proposes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest

from convnas import strategies
from convnas.search_space import InputError
from convnas.search_space.feasible.feasible_set import FeasibleSet
from convnas.strategies.nni_nas.loading import load_nni_nas

Point = dict[str, Any]
LABELS = ["a", "b", "c", "d"]
NAMES = ["nni-nas-evolution", "nni-nas-grid", "nni-nas-random", "nni-nas-tpe"]

optuna.logging.set_verbosity(optuna.logging.WARNING)


def table(positions: int, limit: int | None = None) -> FeasibleSet[Point]:
    names = [f"op{i}" for i in range(positions)]
    return FeasibleSet.from_table(
        options=dict.fromkeys(names, LABELS), cost={n: [0, 1, 2, 3] for n in names}, limit=limit
    )


def study_of(name: str, feasible: FeasibleSet[Point], **settings: Any) -> optuna.Study:
    sampler = strategies.create(name, feasible, seed=0, **settings)
    return optuna.create_study(direction="maximize", sampler=sampler)


def go_on(study: optuna.Study, feasible: FeasibleSet[Point], n: int) -> list[Point]:
    """Points in order; a point scores one for every `c` in it."""
    points = []
    for _ in range(n):
        trial = study.ask()
        points.append(feasible.suggest(trial))
        study.tell(trial, scored(points[-1]))
    return points


def scored(point: Point) -> float:
    return float(sum(label == "c" for label in point.values()))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("nni-nas-tpe", {"n_startup_jobs": 20}),
        ("nni-nas-evolution", {"population_size": 20, "sample_size": 8}),
    ],
)
def test_what_learns_finds_better_points_than_its_start(name: str, settings: Any) -> None:
    feasible = table(8)
    points = go_on(study_of(name, feasible, **settings), feasible, 70)
    start, end = (np.mean([scored(p) for p in part]) for part in (points[:20], points[-20:]))
    assert start < 3  # uniform points have two on average
    assert end > start + 1


def test_evolution_mutates_one_of_its_population_the_latest_results() -> None:
    feasible = table(6)
    size = 6
    settings = {"population_size": size, "sample_size": size, "mutation_prob": 0.1}
    points = go_on(study_of("nni-nas-evolution", feasible, **settings), feasible, 40)
    for i in range(size, 40):
        alive = points[i - size : i]
        top = max(map(scored, alive))
        # All take part in the tournament, so the parent is one of the best alive.
        changes = [sum(points[i][n] != p[n] for n in p) for p in alive if scored(p) == top]
        assert 1 <= min(changes) <= 3  # one in ten of six factors


def test_results_that_it_did_not_ask_for_are_taken_up() -> None:
    feasible = table(6)
    settings = {"population_size": 4, "sample_size": 4, "mutation_prob": 0.05}
    study = study_of("nni-nas-evolution", feasible, **settings)
    best = {f"op{i}": "c" for i in range(6)}
    study.enqueue_trial(best)
    go_on(study, feasible, 4)
    (child,) = go_on(study, feasible, 1)
    assert 1 <= sum(child[name] != "c" for name in best) <= 2


def test_the_grid_is_the_set_in_order_of_cost_or_shuffled_by_hundreds() -> None:
    feasible = table(4, limit=6)
    wanted = list(feasible)
    found = go_on(study_of("nni-nas-grid", feasible, shuffle=False), feasible, len(wanted))
    assert found == wanted
    shuffled = go_on(study_of("nni-nas-grid", feasible), feasible, 30)
    assert shuffled != wanted[:30]
    for i, point in enumerate(shuffled):
        assert point in [p for p in wanted if p not in shuffled[:i]][:100]


def test_random_is_uniform_over_the_set() -> None:
    feasible = table(3, limit=1)  # four points
    first = [
        go_on(
            optuna.create_study(sampler=strategies.create("nni-nas-random", feasible, seed=seed)),
            feasible,
            1,
        )[0]
        for seed in range(200)
    ]
    counts = [first.count(point) for point in feasible]
    assert len(counts) == 4
    # A binomial of 200 draws with chance 1/4: 50, deviation 6.1.
    assert all(25 <= count <= 75 for count in counts)


@pytest.mark.parametrize("name", NAMES)
def test_a_set_that_is_a_needle_in_its_space_is_searched_too(name: str) -> None:
    feasible = table(20, limit=1)  # 21 points of 4^20
    points = go_on(study_of(name, feasible), feasible, 21)
    assert sorted(map(str, points)) == sorted(map(str, feasible))


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [*((name, "pytorch_lightning", "nas") for name in NAMES), ("nni-nas-rl", "tianshou", "nas-rl")],
)
def test_without_the_extra_it_is_said_what_to_install(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    wanted = (
        rf"strategy\.name: .* it needs {package}, which pip install 'convnas\[{extra}\]' brings"
    )
    with pytest.raises(InputError, match=wanted):
        strategies.create(name, table(2))
    assert name in strategies.names()
    assert name not in strategies.available()


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("nni-nas-evolution", {"population_size": 0}),
        ("nni-nas-evolution", {"population_size": 4, "sample_size": 5}),
        ("nni-nas-evolution", {"mutation_prob": 0}),
        ("nni-nas-evolution", {"mutation_prob": "often"}),
        ("nni-nas-evolution", {"crossover": 1}),
        ("nni-nas-grid", {"shuffle": "no"}),
    ],
)
def test_wrong_settings_are_named(name: str, settings: dict[str, Any]) -> None:
    key = list(settings)[-1]
    with pytest.raises(InputError, match=rf"strategy\.{key}: .* is not allowed; it must be"):
        strategies.create(name, table(2), **settings)


def test_an_error_inside_nni_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    load_nni_nas()
    from nni.nas.strategy import RegularizedEvolution

    def broken(self: Any) -> None:
        raise ZeroDivisionError("there are no parents")

    monkeypatch.setattr(RegularizedEvolution, "best_parent", broken)
    feasible = table(4)
    study = study_of("nni-nas-evolution", feasible, population_size=2, sample_size=1)
    go_on(study, feasible, 2)
    with pytest.raises(
        strategies.StrategyFailed,
        match="NNI's RegularizedEvolution failed: ZeroDivisionError: there are no parents",
    ):
        study.ask()


def test_the_tpe_is_the_one_that_nnis_tuner_is() -> None:
    feasible = table(4)
    runs = [
        go_on(study_of(name, feasible, n_startup_jobs=10), feasible, 25)
        for name in ("nni-tpe", "nni-nas-tpe")
    ]
    assert runs[0] == runs[1]


def test_nothing_is_printed_and_log_levels_stay() -> None:
    code = """
import logging, optuna
import test_nni_nas_strategies as tests
from convnas.strategies.nni_nas.loading import load_nni_nas
load_nni_nas()
level = logging.getLogger("nni").level
for name in tests.NAMES:
    tests.go_on(tests.study_of(name, tests.table(2)), tests.table(2), 16)
assert logging.getLogger("nni").level == level
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
