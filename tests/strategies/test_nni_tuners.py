"""NNI's algorithms: what each is known to do shows in the points it proposes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import optuna
import pytest

from convnas import strategies
from convnas.experiments.cli import main
from convnas.search_space import InputError
from convnas.search_space.feasible.feasible_set import FeasibleSet

Point = dict[str, Any]
LABELS = ["a", "b", "c", "d"]
NAMES = [f"op{i}" for i in range(4)]

optuna.logging.set_verbosity(optuna.logging.WARNING)


def free_set(positions: int = 4) -> FeasibleSet[Point]:
    names = [f"op{i}" for i in range(positions)]
    return FeasibleSet.from_table(
        options=dict.fromkeys(names, LABELS), cost={name: [0, 1, 2, 3] for name in names}
    )


def searched(name: str, feasible: FeasibleSet[Point], n: int, **settings: Any) -> list[Point]:
    """Points in order; a point scores one for every `c` in it."""
    sampler = strategies.create(name, feasible, seed=0, **settings)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    points = []
    for _ in range(n):
        trial = study.ask()
        points.append(feasible.suggest(trial))
        study.tell(trial, float(sum(label == "c" for label in points[-1].values())))
    return points


def test_the_grid_goes_through_the_product_in_order_and_leaves_out_what_is_over_budget() -> None:
    feasible = FeasibleSet.from_table(
        options=dict.fromkeys(NAMES, LABELS), cost={n: [1, 0, 3, 2] for n in NAMES}, limit=4
    )
    cost = dict(zip(LABELS, [1, 0, 3, 2], strict=True))
    product = itertools.product(LABELS, repeat=4)
    wanted = [p for p in product if sum(cost[label] for label in p) <= 4]
    found = [tuple(point.values()) for point in searched("nni-grid", feasible, len(wanted))]
    assert found == wanted


@pytest.mark.parametrize(
    ("name", "settings"),
    [("nni-tpe", {"n_startup_jobs": 20}), ("nni-evolution", {"population_size": 10})],
)
def test_what_learns_finds_better_points_than_its_start(name: str, settings: Any) -> None:
    points = searched(name, free_set(8), 70, **settings)
    scores = [sum(label == "c" for label in point.values()) for point in points]
    assert np.mean(scores[:20]) < 3  # uniform points have two on average
    assert np.mean(scores[-20:]) > np.mean(scores[:20]) + 1


def test_evolution_mutates_one_factor_of_an_earlier_point() -> None:
    points = searched("nni-evolution", free_set(8), 40, population_size=8)
    names = list(points[0])
    for i, point in enumerate(points[8:], 8):
        # In 4^8 points a mutant is new, so nothing stands in for it.
        assert min(sum(point[n] != other[n] for n in names) for other in points[:i]) == 1


@pytest.mark.parametrize("name", ["nni-anneal", "nni-smac"])
def test_algorithms_that_cannot_run_are_refused_with_the_reason(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"hyperopt|no code"):
        strategies.create(name, free_set())
    assert main(["launch", "--strategy", name]) == 2
    assert f"strategy.name: '{name}'" in capsys.readouterr().err


def test_a_population_of_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"strategy\.population_size"):
        strategies.create("nni-evolution", free_set(), population_size=1)
