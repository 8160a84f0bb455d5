"""A set given as a list of points, against looking through the list."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest

from convnas.search_space.errors import InputError
from convnas.search_space.feasible.feasible_set import FeasibleSet
from convnas.search_space.feasible.limits import InfeasibleBudget

NAMES = ("stem", "op", "kernel")
EVERY = list(itertools.product("abc", ["x", "y"], [1, 3, 5]))
LIMIT = 60


def listed() -> tuple[list[dict[str, Any]], list[int]]:
    """11 of the 18 combinations, with costs that are no sum over the positions."""
    rng = np.random.default_rng(0)
    chosen = [EVERY[i] for i in rng.permutation(len(EVERY))[:11]]
    return [dict(zip(NAMES, row, strict=True)) for row in chosen], rng.integers(0, 100, 11).tolist()


def changed(one: dict[str, Any], other: dict[str, Any]) -> int:
    return sum(one[name] != other[name] for name in NAMES)


@pytest.mark.parametrize("limit", [None, LIMIT, (30, LIMIT)])
def test_count_order_membership_and_neighbours(limit: Any) -> None:
    points, costs = listed()
    low, high = limit if isinstance(limit, tuple) else (0, limit or 1000)
    inside = [p for p, cost in zip(points, costs, strict=True) if low <= cost <= high]
    assert 1 < len(inside) <= 11
    feasible = FeasibleSet.from_points(points, costs, limit)
    assert (feasible.size, feasible.count) == (11, len(inside))
    found = list(feasible)
    assert sorted(map(repr, found)) == sorted(map(repr, inside))
    told = [feasible.describe(p)["cost"] for p in found]
    assert told == sorted(c for c in costs if low <= c <= high)
    for row in EVERY:
        point = dict(zip(NAMES, row, strict=True))
        assert (point in feasible) == (point in inside)
    for point in inside:
        near = [p for p in inside if changed(p, point) == 1]
        assert sorted(map(repr, feasible.neighbours(point))) == sorted(map(repr, near))


def test_repair_changes_the_fewest_positions_and_then_the_cost_least() -> None:
    points, costs = listed()
    feasible = FeasibleSet.from_points(points, costs, LIMIT)
    inside = [(p, c) for p, c in zip(points, costs, strict=True) if c <= LIMIT]
    for row in EVERY:
        point = dict(zip(NAMES, row, strict=True))
        repaired = feasible.repair(point)
        fewest = min(changed(p, point) for p, _ in inside)
        assert changed(repaired, point) == fewest
        if point in points:
            own = costs[points.index(point)]
            off = min(abs(c - own) for p, c in inside if changed(p, point) == fewest)
            assert abs(costs[points.index(repaired)] - own) == off


def test_draws_are_uniform_over_the_list_and_the_dearest_part_is_of_it() -> None:
    points, costs = listed()
    feasible = FeasibleSet.from_points(points, costs, LIMIT)
    draws = Counter(map(repr, feasible.sample(np.random.default_rng(1), 6000)))
    expected = 6000 / feasible.count
    chi2 = sum((draws[repr(p)] - expected) ** 2 / expected for p in feasible)
    assert len(draws) == feasible.count
    assert chi2 < 30  # at most 10 degrees of freedom: p = .001
    inside = sorted(c for c in costs if c <= LIMIT)
    top = feasible.top(0.3)
    edge = inside[int(len(inside) * 0.7)]
    assert [feasible.describe(p)["cost"] for p in top] == [c for c in inside if c >= edge]


def test_a_list_of_many_positions_is_not_multiplied_out() -> None:
    """30 positions of up to 9 options: 9^30 combinations, of which 500 are listed."""
    rng = np.random.default_rng(2)
    rows = np.unique(rng.integers(0, 9, (500, 30)), axis=0)
    points = [{f"op{i}": option for i, option in enumerate(row)} for row in rows.tolist()]
    feasible = FeasibleSet.from_points(points, rows.sum(axis=1).tolist(), 120)
    assert feasible.count == (rows.sum(axis=1) <= 120).sum()
    assert feasible.cheapest() == points[int(rows.sum(axis=1).argmin())]
    assert all(sum(p.values()) <= 120 for p in feasible.sample(rng, 50))


@pytest.mark.parametrize(
    ("points", "cost", "told"),
    [
        ([], [], "points"),
        ([{"a": 1}, {"b": 1}], [1, 2], "points.*a label for each of: a"),
        ([{"a": 1}, {"a": 1}], [1, 2], "each point once"),
        ([{"a": 1}], [0.5], "cost.*integers"),
        ([{"a": 1}], [1, 2], "cost.*integers"),
    ],
)
def test_lists_that_are_none_are_refused(points: Any, cost: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        FeasibleSet.from_points(points, cost)


def test_a_limit_below_every_point_names_the_cheapest() -> None:
    with pytest.raises(InfeasibleBudget, match=r"7.*\{'a': 2\}"):
        FeasibleSet.from_points([{"a": 1}, {"a": 2}], [9, 7], 6)
