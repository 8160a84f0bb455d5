"""Our own strategies: what each is known to do shows in the points it proposes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from convnas import strategies
from convnas.search_space import InputError
from convnas.search_space.feasible.feasible_set import FeasibleSet
from convnas.strategies.history import history
from convnas.strategies.predictor import PredictorStrategy

Table = FeasibleSet[dict[str, Any]]
LABELS = ["a", "b", "c", "d"]
COSTS = [0, 1, 3, 4]


def table(positions: int = 6, limit: int | None = 12) -> Table:
    names = [f"op{i}" for i in range(positions)]
    return FeasibleSet.from_table(
        options=dict.fromkeys(names, LABELS), cost=dict.fromkeys(names, COSTS), limit=limit
    )


def score(row: tuple[int, ...]) -> float:
    """One for a `c`, a little for a `d`, and something for neighbours that are alike."""
    alike = sum(a == b for a, b in itertools.pairwise(row))
    return sum((0.0, 0.1, 1.0, 0.3)[option] for option in row) + 0.5 * alike


def searched(
    name: str, feasible: Table, n: int, seed: int = 0, **settings: Any
) -> tuple[list[tuple[int, ...]], list[float]]:
    sampler = strategies.create(name, feasible, seed=seed, **settings)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    rows, scores = [], []
    for _ in range(n):
        trial = study.ask()
        rows.append(feasible.indices(feasible.suggest(trial)))
        scores.append(score(rows[-1]))
        study.tell(trial, scores[-1])
    return rows, scores


def changed(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def test_exhaustive_goes_up_in_cost_and_leaves_nothing_out() -> None:
    feasible = table(4, 5)
    rows, _ = searched("exhaustive", feasible, feasible.count)
    costs = [sum(COSTS[option] for option in row) for row in rows]
    assert costs == sorted(costs)
    product = itertools.product(range(4), repeat=4)
    assert set(rows) == {row for row in product if sum(COSTS[o] for o in row) <= 5}


def test_evolution_mutates_one_of_the_latest_and_forgets_the_oldest() -> None:
    rows, _ = searched("evolution", table(), 60, population=10, sample=3)
    for i in range(10, 60):
        # One position; more only where the mutant had to be brought back into the budget.
        assert min(changed(rows[i], parent) for parent in rows[i - 10 : i]) == 1


def test_the_parent_in_evolution_is_the_best_of_its_rivals() -> None:
    """With everybody alive a rival, it is the best of them that is changed at one position."""
    feasible = table(6, None)
    rows, scores = searched("evolution", feasible, 40, population=8, sample=8)
    for i in range(8, 40):
        best = max(range(i - 8, i), key=lambda j: scores[j])
        assert changed(rows[i], rows[best]) == 1


def test_local_search_looks_around_the_best_until_nothing_is_left_there() -> None:
    rows, scores = searched("local-search", table(), 30, startup=5)
    for i in range(5, 30):
        around = [
            [row for row in itertools.product(range(4), repeat=6) if changed(row, rows[best]) == 1]
            for best in sorted(range(i), key=lambda j: -scores[j])
        ]
        left = [
            [r for r in near if sum(COSTS[o] for o in r) <= 12 and r not in rows[:i]]
            for near in around
        ]
        assert rows[i] in next(near for near in left if near)


def test_the_predictor_starts_half_among_the_dearest_fifth() -> None:
    feasible = table()
    costs = sorted(sum(COSTS[o] for o in feasible.indices(point)) for point in feasible)
    edge = costs[int(len(costs) * 0.8)]
    for seed in range(3):
        rows, _ = searched("predictor", feasible, 12, seed=seed, startup=12)
        assert all(sum(COSTS[o] for o in row) >= edge for row in rows[::2])
        assert any(sum(COSTS[o] for o in row) < edge for row in rows[1::2])


def test_the_predictor_warms_up_with_labels_that_were_used_least() -> None:
    """Two points of its start share fewer labels than two that are drawn alike but at random."""
    feasible = table(6, None)
    dear = feasible.top(0.2)
    shared: list[float] = []
    at_random: list[float] = []
    for seed in range(12):
        rows = np.array(searched("predictor", feasible, 10, seed=seed)[0])
        rng = np.random.default_rng(seed)
        drawn = np.concatenate([dear.sample_indices(rng, 5), feasible.sample_indices(rng, 5)])
        for found, kept in ((rows, shared), (drawn, at_random)):
            same = (found[:, None, :] == found).sum(axis=2)
            kept.append(same[np.triu_indices(10, 1)].mean())
    assert np.mean(shared) < np.mean(at_random) - 0.2


def test_the_predictor_finds_what_it_takes_random_far_longer_to_find() -> None:
    feasible = table()
    best = max(score(feasible.indices(point)) for point in feasible)
    gaps = {
        name: np.mean([best - max(searched(name, feasible, 45, seed)[1]) for seed in range(4)])
        for name in ("predictor", "random")
    }
    assert gaps["predictor"] < 0.4 * gaps["random"]


def test_exploring_always_is_uniform_after_the_start() -> None:
    feasible = table(3, 6)
    drawn = [
        searched("predictor", feasible, 3, s, startup=2, explore=1.0)[0][2] for s in range(300)
    ]
    spent = np.array([sum(COSTS[o] for o in row) for row in drawn])
    every = np.array([sum(COSTS[o] for o in feasible.indices(point)) for point in feasible])
    assert abs(spent.mean() - every.mean()) < 4 * every.std() / np.sqrt(len(drawn))


def test_the_predictor_searches_a_set_that_cannot_be_written_out() -> None:
    feasible = table(40, 90)
    rows, scores = searched("predictor", feasible, 40)
    assert all(sum(COSTS[option] for option in row) <= 90 for row in rows)
    assert np.mean(scores[-10:]) > np.mean(scores[:10]) + 3


def test_the_predictor_warms_up_with_what_the_budget_leaves_of_the_whole_space() -> None:
    """Draws over the whole space that are over budget land at the nearest points inside it."""
    feasible = table(4, 4)
    inside = np.array(list(feasible.indices_in_order()))
    sampler = PredictorStrategy(feasible)
    moved = sampler._moved_inside(np.random.default_rng(0), 500)
    drawn = np.random.default_rng(0).integers([4] * 4, size=(500, 4))
    nearest = (drawn[:, None, :] != inside).sum(axis=2).min(axis=1)
    assert 0.5 < np.mean(nearest > 0) < 1
    assert {tuple(row) for row in moved.tolist()} <= {tuple(row) for row in inside.tolist()}
    assert ((drawn != moved).sum(axis=1) == nearest).all()
    costs = np.array(COSTS)
    # So they lie higher than uniform draws over the budget's set do.
    assert costs[moved].sum(axis=1).mean() > costs[inside].sum(axis=1).mean() + 0.2


def test_history_takes_complete_trials_and_the_last_report_of_pruned_ones() -> None:
    feasible = table(3, None)
    study = optuna.create_study(direction="minimize", sampler=strategies.create("random", feasible))
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.PRUNED, None):
        trial = study.ask()
        feasible.suggest(trial)
        if state == TrialState.PRUNED and trial.number == 1:
            trial.report(7.0, 1)
            trial.report(5.0, 2)
        if state is not None:
            study.tell(trial, 3.0 if state == TrialState.COMPLETE else None, state=state)
    past = history(study, feasible.chain.locate, np.random.default_rng(0))
    assert past.scores.tolist() == [-3.0, -5.0]
    assert [tuple(row) for row in past.points.tolist()] == [
        feasible.chain.locate(trial.params) for trial in study.trials[:2]
    ]


def test_of_several_objectives_a_dominated_point_is_never_the_best() -> None:
    feasible = table(3, None)
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=strategies.create("random", feasible)
    )
    for values in ((1.0, 5.0), (0.2, 1.0), (0.9, 6.0), (0.1, 2.0)):
        trial = study.ask()
        feasible.suggest(trial)
        study.tell(trial, values)
    best = {
        int(history(study, feasible.chain.locate, np.random.default_rng(seed)).best_first[0])
        for seed in range(40)
    }
    assert best == {0, 1}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("evolution", {"population": 0}),
        ("evolution", {"population": 5, "sample": 6}),
        ("local-search", {"startup": 0}),
        ("predictor", {"startup": 1}),
        ("predictor", {"explore": 1.5}),
        ("predictor", {"optimism": -1.0}),
        ("predictor", {"trees": 3}),
    ],
)
def test_settings_that_mean_nothing_are_refused(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"strategy.*{list(settings)[-1]}"):
        strategies.create(name, table(), **settings)
