"""The exact machinery against brute force, on small chains of every shape.

Each part is run on its own, also where a set this small would never reach it: with bins so few
that costs are rounded, and with counts made to overflow.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from convnas.search_space.chain.chain import Chain, Position
from convnas.search_space.feasible import computed as implied
from convnas.search_space.feasible import meet_in_the_middle, nearest
from convnas.search_space.feasible import sampling as drawing
from convnas.search_space.feasible.by_cost import in_order
from convnas.search_space.feasible.by_number import in_windows, numbered
from convnas.search_space.feasible.computed import Computed
from convnas.search_space.feasible.enumerated import Enumerated
from convnas.search_space.feasible.extremes import ToGo
from convnas.search_space.feasible.infeasible import nothing_within, refuse_impossible
from convnas.search_space.feasible.limits import InfeasibleBudget, Limits
from convnas.search_space.feasible.meet_in_the_middle import MeetInTheMiddle, TooLarge

Point = tuple[int, ...]
EXACT = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def brute_force(chain: Chain) -> dict[Point, list[int]]:
    """Every allowed point and its costs, one at a time in plain Python."""
    found = {}
    for point in itertools.product(*(range(n) for n in chain.shape)):
        state, costs, good = 0, [0] * len(chain.costs), True
        for position, option in zip(chain.positions, point, strict=True):
            good = good and bool(position.allowed[state, option])
            costs = [c + int(position.cost[k, state, option]) for k, c in enumerate(costs)]
            state = int(position.state[state, option])
        if good:
            found[point] = [c + int(chain.final[k, state]) for k, c in enumerate(costs)]
    return found


def within(points: dict[Point, list[int]], limits: Limits) -> dict[Point, list[int]]:
    return {
        point: costs
        for point, costs in points.items()
        if all(
            (low is None or costs[row] >= low) and (high is None or costs[row] <= high)
            for row, (low, high) in limits.rows.items()
        )
    }


def make_chain(
    rng: np.random.Generator, shape: list[int], n_states: int, n_costs: int, scale: int
) -> Chain:
    """Random costs (some equal, some negative), couplings and a few forbidden neighbours."""
    positions, arriving = [], 1
    remembers = rng.random() < 0.5  # an option may hand on what it received
    for i, n in enumerate(shape):
        positions.append(
            Position(
                name=f"p{i}",
                factors={f"p{i}": tuple(range(n))},
                options=np.arange(n)[:, None],
                cost=rng.integers(-2, 7, size=(n_costs, arriving, n)) * scale
                + rng.integers(0, 3, size=(n_costs, arriving, n)),
                allowed=rng.random((arriving, n)) < 0.85,
                state=rng.integers(0, n_states, size=(arriving, n) if remembers else n),
            )
        )
        arriving = n_states
    final = rng.integers(0, 5, size=(n_costs, n_states)) * scale
    return Chain(tuple(positions), final, ("flops", "params", "activations")[:n_costs])


@st.composite
def chains(draw: st.DrawFn, n_costs: int = 1) -> tuple[Chain, dict[Point, list[int]]]:
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    seed, n_states = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 3))
    scale = draw(st.sampled_from([1, 10, 10**9]))
    chain = make_chain(np.random.default_rng(seed), shape, n_states, n_costs, scale)
    points = brute_force(chain)
    assume(points)
    return chain, points


@st.composite
def limited(draw: st.DrawFn, n_costs: int = 1) -> tuple[Chain, Limits, dict[Point, list[int]]]:
    """A chain and limits at the costs of points (so at the very edge), each of which can be met."""
    chain, points = draw(chains(n_costs))
    rows = {}
    for row in range(n_costs):
        costs = sorted({costs[row] for costs in points.values()})
        low, high = sorted(draw(st.tuples(*[st.integers(0, len(costs) - 1)] * 2)))
        ends = draw(st.sampled_from([(0, 1), (1, 0), (1, 1)]))
        rows[row] = (costs[low] if ends[0] else None, costs[high] if ends[1] else None)
    limits = Limits(rows).binding(chain)
    return chain, limits, within(points, limits)


def as_set(rows: np.ndarray) -> set[Point]:
    found = [tuple(row) for row in rows.tolist()]
    assert len(set(found)) == len(found)
    return set(found)


@EXACT
@given(chains(n_costs=2))
def test_size_costs_and_extremes(case: tuple[Chain, dict[Point, list[int]]]) -> None:
    chain, points = case
    rows = np.array(list(itertools.product(*(range(n) for n in chain.shape))))
    assert as_set(rows[chain.allows(rows)]) == set(points)
    assert chain.size == len(points)
    for point, costs in points.items():
        assert chain.cost_of(np.array([point])).tolist() == [costs]
    for sign in (1, -1):
        togo = ToGo.of(chain, 1, sign)
        best = sign * min(sign * costs[1] for costs in points.values())
        assert togo.total == points[togo.best()][1] == best


@EXACT
@given(limited(n_costs=2))
def test_enumeration(case: tuple[Chain, Limits, dict[Point, list[int]]]) -> None:
    chain, limits, points = case
    engine = Enumerated(chain, limits)
    assert engine.count == len(points)
    if points:
        assert set(engine.in_order()) == set(points)
        costs = [points[point][0] for point in engine.in_order()]
        assert costs == sorted(costs)


@pytest.mark.parametrize("n_costs", [1, 2, 3])
@pytest.mark.parametrize("entries", [100, 1_000_000])
@pytest.mark.parametrize("greatest", [2**5, 2**62])
@EXACT
@given(data=st.data())
def test_drawing_reaches_exactly_the_points_within_the_limits(
    n_costs: int, entries: int, greatest: int, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    monkeypatch.setattr(drawing, "_TABLE_ENTRIES", entries)
    monkeypatch.setattr(drawing, "_TABLE_ENTRIES_SEVERAL", entries)
    monkeypatch.setattr(drawing, "_GREATEST", greatest)
    monkeypatch.setattr(drawing, "_DRAWS_TO_GIVE_UP", 1 << 14)
    chain, limits, points = data.draw(limited(n_costs))
    made = drawing.Drawing(chain, limits)
    low, high = made.grid.count_bounds()
    assert low <= len(points) <= high
    if made.whole:
        assert as_set(made.listed()) == set(points)
    if not points:
        with pytest.raises(RuntimeError, match="so few points"):
            made.sample(np.random.default_rng(0), 1)
    elif made.acceptance > 0.05:
        rows = made.sample(np.random.default_rng(0), 40 * len(points))
        assert {tuple(row) for row in rows.tolist()} <= set(points)


@pytest.mark.parametrize("int64", [20, 2**62])
@EXACT
@given(data=st.data())
def test_halves_count_find_and_number_every_window(
    int64: int, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    monkeypatch.setattr(meet_in_the_middle, "_INT64", int64)
    chain, limits, points = data.draw(limited())
    limit = limits.rows.get(0, (None, None))
    made = MeetInTheMiddle(chain, 0)
    assert made.count(*limit) == len(points)
    assert as_set(numbered(made, np.arange(len(points)), *limit)) == set(points)
    costs = sorted({c[0] for c in brute_force(chain).values()})
    for cost in (costs[0] - 1, costs[len(costs) // 2], costs[-1] + 1):
        assert made.nearest(cost, 1) == min((c for c in costs if c >= cost), default=None)
        assert made.nearest(cost, -1) == max((c for c in costs if c <= cost), default=None)
    low = costs[0] if limit[0] is None else limit[0]
    listed = [tuple(row) for rows in in_windows(made, low, limit[1]) for row in rows.tolist()]
    assert sorted(listed) == sorted(points)
    assert [points[p][0] for p in listed] == sorted(c[0] for c in points.values())


@pytest.mark.parametrize("sign", [1, -1])
@EXACT
@given(data=st.data())
def test_order_of_cost(sign: int, data: st.DataObject) -> None:
    chain, limits, points = data.draw(limited(n_costs=2))
    listed = list(in_order(chain, 1, limits, sign))
    assert sorted(listed) == sorted(points)
    assert [points[p][1] for p in listed] == sorted(
        (c[1] for c in points.values()), reverse=sign < 0
    )


@EXACT
@given(data=st.data())
def test_nearest_changes_the_fewest_positions(data: st.DataObject) -> None:
    chain, limits, points = data.draw(limited(n_costs=data.draw(st.integers(1, 3))))
    given_point = tuple(data.draw(st.integers(0, n - 1)) for n in chain.shape)
    found = nearest.nearest(chain, limits, given_point)
    if not points:
        assert found is None
        return
    own = chain.cost_of(np.array([given_point]))[0, 0]

    def distance(point: Point) -> tuple[int, int]:
        changed = sum(a != b for a, b in zip(point, given_point, strict=True))
        return changed, abs(points[point][0] - own)

    assert found is not None
    assert distance(found) == min(map(distance, points))


@pytest.mark.parametrize("most_listed", [0, 1 << 21])
@pytest.mark.parametrize("n_costs", [1, 2])
@EXACT
@given(data=st.data())
def test_a_large_set_answers_as_a_small_one(
    most_listed: int, n_costs: int, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    monkeypatch.setattr(implied, "_MOST_LISTED", most_listed)
    monkeypatch.setattr(drawing, "_TABLE_ENTRIES", 2000)
    chain, limits, points = data.draw(limited(n_costs))
    assume(points)
    large = Computed(chain, limits)
    assert not large.empty
    low, high = large.count_bounds
    assert low <= len(points) <= high
    if n_costs == 1 or most_listed:
        assert large.count == len(points)
        for sign in (1, -1):
            best = min(sign * costs[0] for costs in points.values())
            assert points[large.extreme(sign)][0] == sign * best
    elif len(limits.rows) == 2:
        with pytest.raises(TooLarge):
            _ = large.count
    assert sorted(large.in_order()) == sorted(points)
    rows = large.sample(np.random.default_rng(1), 50)
    assert {tuple(row) for row in rows.tolist()} <= set(points)


@EXACT
@given(data=st.data())
def test_impossible_limits_name_the_nearest_possible(data: st.DataObject) -> None:
    chain, points = data.draw(chains())
    costs = sorted({c[0] for c in points.values()})
    for limit, nearest_cost in (
        ((None, costs[0] - 1), costs[0]),
        ((costs[-1] + 1, None), costs[-1]),
    ):
        with pytest.raises(InfeasibleBudget) as caught:
            refuse_impossible(chain, Limits({0: limit}), "point", str)
        assert caught.value.nearest == nearest_cost
        assert str(nearest_cost) in str(caught.value)
    gaps = [(a, b) for a, b in itertools.pairwise(costs) if b - a > 1]
    for a, b in gaps[:2]:
        error = nothing_within(chain, Limits({0: (a + 1, b - 1)}), "point")
        assert error.nearest == a
        assert f"{a} and {b}" in str(error)


CASES: list[Callable[[Chain, Limits], Enumerated | Computed | drawing.Drawing]] = [
    Enumerated,
    drawing.Drawing,
    Computed,
]


@pytest.mark.parametrize("make", CASES)
@pytest.mark.parametrize("limit", [(None, 0.4), (0.3, 0.6), (0.5, 0.52), (None, None)])
@pytest.mark.parametrize("greatest", [2**5, 2**7, 2**9, 2**62])
def test_draws_are_uniform(
    make: Callable[[Chain, Limits], Enumerated | Computed | drawing.Drawing],
    limit: tuple[float | None, float | None],
    greatest: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Few bins, so that draws are rejected; a small "2**62", so that counts are rounded.
    monkeypatch.setattr(drawing, "_TABLE_ENTRIES", 1500)
    monkeypatch.setattr(drawing, "_GREATEST", greatest)
    monkeypatch.setattr(implied, "_MOST_LISTED", 0)
    chain = make_chain(np.random.default_rng(3), [4, 3, 4, 4, 3], 3, 1, 10)
    points = brute_force(chain)
    costs = sorted(cost for (cost,) in points.values())
    low, high = (None if end is None else costs[int(end * len(costs))] for end in limit)
    limits = Limits({0: (low, high)} if limit != (None, None) else {})
    points = within(points, limits)
    assert len(points) > 5
    n = 60 * len(points)
    rows = make(chain, limits).sample(np.random.default_rng(11), n)
    seen = np.unique(np.ravel_multi_index(tuple(rows.T), chain.shape), return_counts=True)[1]
    counts = np.concatenate([seen, np.zeros(len(points) - len(seen))])
    chi_square = float(((counts - 60) ** 2 / 60).sum())
    # Mean k - 1 and variance 2 (k - 1); five standard deviations is one chance in a million.
    degrees = len(points) - 1
    assert abs(chi_square - degrees) < 5 * np.sqrt(2 * degrees) + 5
