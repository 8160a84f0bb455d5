"""The feasible set as people use it, on a table small enough to do in one's head."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import optuna
import pytest

from convnas.search_space.chain.chain import Chain, Position
from convnas.search_space.errors import InputError
from convnas.search_space.feasible.feasible_set import FeasibleSet
from convnas.search_space.feasible.limits import InfeasibleBudget

OPTIONS: dict[str, list[Any]] = {"op0": ["none", "skip", "3x3"], "op1": [1, 2], "op2": ["a", 0.5]}
COST = {"op0": [0, 1, 9], "op1": [0, 4], "op2": [0, 1]}
COUPLING = {("op0", "op1"): [[0, 0], [0, 2], [0, 0]]}


def table(limit: Any = 6) -> FeasibleSet[dict[str, Any]]:
    return FeasibleSet.from_table(OPTIONS, COST, COUPLING, limit)


def expected(limit: int = 6) -> dict[tuple[Any, ...], int]:
    found = {}
    for point in itertools.product(*OPTIONS.values()):
        places = [names.index(name) for names, name in zip(OPTIONS.values(), point, strict=True)]
        cost = sum(COST[name][place] for name, place in zip(COST, places, strict=True))
        cost += 2 if point[:2] == ("skip", 2) else 0
        if cost <= limit:
            found[point] = cost
    return found


def test_count_size_order_and_membership() -> None:
    feasible = table()
    points = expected()
    assert (feasible.size, feasible.count, len(feasible)) == (12, len(points), len(points))
    assert feasible.count_bounds == (len(points), len(points))
    listed = list(feasible)
    assert {tuple(p.values()) for p in listed} == set(points)
    assert [points[tuple(p.values())] for p in listed] == sorted(points.values())
    assert all(p in feasible for p in listed)
    assert {"op0": "3x3", "op1": 1, "op2": "a"} not in feasible
    for foreign in ({"op0": "none"}, {"op0": "x", "op1": 1, "op2": "a"}, 3, None, "none"):
        assert foreign not in feasible


def test_cheapest_dearest_and_the_dearest_part() -> None:
    feasible = table()
    assert feasible.cheapest() == {"op0": "none", "op1": 1, "op2": "a"}
    assert feasible.describe(feasible.dearest()) == {"cost": 5}
    costs = sorted(expected().values())
    top = feasible.top(0.25)
    edge = costs[int(len(costs) * 0.75)]
    assert [feasible.describe(p)["cost"] for p in top] == [c for c in costs if c >= edge]
    assert feasible.top(1.0).count == feasible.count
    with pytest.raises(ValueError, match=r"1\.5"):
        feasible.top(1.5)


def test_neighbours_differ_in_one_place_and_repair_in_as_few_as_can_be() -> None:
    feasible = table()
    assert sorted(map(str, feasible.neighbours({"op0": "skip", "op1": 1, "op2": "a"}))) == sorted(
        map(
            str,
            [{"op0": "none", "op1": 1, "op2": "a"}, {"op0": "skip", "op1": 1, "op2": 0.5}],
        )
    )
    # One change is enough; of the two that are, skip (2) costs nearer to 10 than none (1).
    assert feasible.repair({"op0": "3x3", "op1": 1, "op2": 0.5})["op0"] == "skip"
    inside = {"op0": "none", "op1": 2, "op2": 0.5}
    assert feasible.repair(inside) == inside


def test_points_options_and_parameters_are_the_same_thing() -> None:
    feasible = table()
    for point in feasible:
        assert feasible.point(feasible.indices(point)) == point
        assert feasible.from_params(feasible.params(point)) == point
    with pytest.raises(ValueError, match="op1 has no option"):
        feasible.from_params({"op0": "none", "op1": 3, "op2": "a"})
    assert feasible.distributions == OPTIONS


def test_sampling_is_seeded_and_in_the_set() -> None:
    feasible = table()
    drawn = feasible.sample(np.random.default_rng(5), 100)
    assert drawn == feasible.sample(np.random.default_rng(5), 100)
    assert {tuple(p.values()) for p in drawn} == set(expected())
    indices = feasible.sample_indices(np.random.default_rng(5), 100)
    assert [feasible.point(row) for row in indices.tolist()] == drawn
    assert feasible.feasible(indices).all()
    assert (feasible.costs(indices)[:, 0] <= 6).all()


def test_unseen_points_are_uniform_down_to_the_last() -> None:
    feasible = table()
    every = [feasible.indices(point) for point in feasible]
    seen = set(every[:-2])
    rng = np.random.default_rng(0)
    drawn = [feasible.sample_unseen(rng, seen) for _ in range(400)]
    counts = [drawn.count(point) for point in every]
    assert sum(counts[-2:]) == 400
    assert abs(counts[-1] - 200) < 50  # five standard deviations
    assert feasible.sample_unseen(rng, set(every)) is None


def test_suggest_asks_any_sampler_and_notes_what_it_got() -> None:
    feasible = table()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    told = []
    for _ in range(12):
        trial = study.ask()
        try:
            point = feasible.suggest(trial)
        except ValueError as e:
            told.append(str(e))
        else:
            assert trial.user_attrs == feasible.describe(point) | {"feasible": True}
            assert trial.params == feasible.params(point)
    assert 0 < len(told) < 12
    assert all("strategies.create" in text for text in told)


@pytest.mark.parametrize(
    ("limit", "nearest", "told"),
    [
        (-1, 0, "budget.cost: -1 is not allowed; the cheapest point needs 0: {'op0': 'none'"),
        ((15, None), 14, "budget.cost: 15 is not allowed; the dearest point has 14: {'op0': '3x3'"),
        ((6, 6), 5, "budget.cost: (6, 6) is not allowed; no point is between them; the nearest"),
    ],
)
def test_a_budget_that_nothing_meets_names_the_nearest(limit: Any, nearest: int, told: str) -> None:
    with pytest.raises(InfeasibleBudget) as caught:
        table(limit)
    assert str(caught.value).startswith(told)
    assert caught.value.nearest == nearest


def two_costs(limits: dict[str, Any]) -> FeasibleSet[tuple[int, ...]]:
    """Ten options; the more flops the fewer params."""
    position = Position(
        name="p",
        factors={"p": tuple(range(10))},
        options=np.arange(10)[:, None],
        cost=np.stack([np.arange(10), 9 - np.arange(10)])[:, None],
        allowed=np.ones((1, 10), dtype=bool),
        state=np.zeros(10, dtype=int),
    )
    chain = Chain((position,), np.zeros((2, 1), dtype=int), ("flops", "params"))
    return FeasibleSet(chain, limits, tuple, tuple, lambda p: {"flops": p[0]})


def test_two_limits_that_exclude_each_other_say_what_each_would_have_to_be() -> None:
    assert two_costs({"flops": (None, 5), "params": (None, 5)}).count == 2
    with pytest.raises(InfeasibleBudget) as caught:
        two_costs({"flops": (None, 4), "params": (None, 4)})
    assert "flops up to 5, or params up to 5" in str(caught.value)
    with pytest.raises(InputError, match="did you mean 'flops'"):
        two_costs({"flop": (None, 4)})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"options": {}}, "options"),
        ({"cost": {"op0": [0, 1, 9], "op1": [0, 4]}}, "cost.op2"),
        ({"cost": COST | {"op3": [1]}}, "cost.op3"),
        ({"cost": COST | {"op1": [0, 4, 5]}}, r"cost.op1.*shape \(2,\)"),
        ({"cost": COST | {"op1": [0, 4.5]}}, "cost.op1.*integers"),
        ({"options": OPTIONS | {"op1": [1, 1]}}, "options.op1.*once"),
        ({"coupling": {("op0", "op2"): [[0, 0]] * 3}}, "coupling.*neighbouring"),
        ({"coupling": {("op0", "op1"): [[0, 0]] * 2}}, r"coupling.*shape \(3, 2\)"),
    ],
)
def test_tables_that_do_not_fit_are_refused(change: dict[str, Any], told: str) -> None:
    arguments: dict[str, Any] = {"options": OPTIONS, "cost": COST, "coupling": COUPLING} | change
    with pytest.raises(InputError, match=told):
        FeasibleSet.from_table(**arguments, limit=6)
