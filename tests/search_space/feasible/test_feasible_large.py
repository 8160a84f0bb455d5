"""Spaces far too large to write out, against counts made in another way and against bounds."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from convnas.search_space.chain.chain import Chain, Ints, Position
from convnas.search_space.feasible import feasible_set, nearest
from convnas.search_space.feasible.feasible_set import FeasibleSet
from convnas.search_space.feasible.limits import Limits
from convnas.search_space.feasible.meet_in_the_middle import TooLarge

Set = FeasibleSet[tuple[int, ...]]


def make(chain: Chain, **limits: tuple[int | None, int | None]) -> Set:
    return FeasibleSet(chain, limits, tuple, tuple, lambda point: {})


def random_chain(
    n_positions: int, n_options: int, n_states: int, greatest: int, n_costs: int = 1
) -> Chain:
    rng = np.random.default_rng(7)
    positions, arriving = [], 1
    for i in range(n_positions):
        positions.append(
            Position(
                name=f"p{i}",
                factors={f"p{i}": tuple(range(n_options))},
                options=np.arange(n_options)[:, None],
                cost=rng.integers(0, greatest + 1, size=(n_costs, arriving, n_options)),
                allowed=rng.random((arriving, n_options)) < 0.95,
                state=rng.integers(0, n_states, size=n_options),
            )
        )
        arriving = n_states
    final = np.zeros((n_costs, n_states), dtype=int)
    return Chain(tuple(positions), final, ("flops", "params", "activations")[:n_costs])


def distribution(chain: Chain, row: int = 0) -> Counter[int]:
    """Cost -> number of points: a plain dictionary of Python ints over (state, cost)."""
    ways: Counter[tuple[int, int]] = Counter({(0, 0): 1})
    for position in chain.positions:
        arriving, ways = ways, Counter()
        for before, option in np.argwhere(position.allowed).tolist():
            added, after = (
                int(position.cost[row, before, option]),
                int(position.state[before, option]),
            )
            for (state, cost), n in arriving.items():
                if state == before:
                    ways[after, cost + added] += n
    total: Counter[int] = Counter()
    for (state, cost), n in ways.items():
        total[cost + int(chain.final[row, state])] += n
    return total


def polynomial(chain: Chain) -> list[int]:
    """Coefficients of the product of sum(x**cost) over uncoupled positions, as one huge integer."""
    product = 1
    for position in chain.positions:
        product *= sum(1 << 256 * int(cost) for cost in position.cost[0, 0])
    return [product >> 256 * k & (1 << 256) - 1 for k in range(product.bit_length() // 256 + 1)]


@pytest.mark.parametrize(
    ("n_positions", "n_options", "n_states"), [(12, 11, 3), (12, 40, 2), (30, 40, 1), (8, 200, 2)]
)
def test_counts_equal_those_of_a_dictionary(
    n_positions: int, n_options: int, n_states: int
) -> None:
    chain = random_chain(n_positions, n_options, n_states, greatest=40)
    expected = distribution(chain)
    costs = sorted(expected)
    assert make(chain).count == chain.size == sum(expected.values())
    for low, high in ((None, 0.3), (0.5, None), (0.2, 0.7), (None, 0.01)):
        ends = tuple(None if e is None else costs[int(e * len(costs))] for e in (low, high))
        feasible = make(chain, flops=(ends[0], ends[1]))
        assert feasible.count == sum(
            n
            for cost, n in expected.items()
            if (ends[0] is None or cost >= ends[0]) and (ends[1] is None or cost <= ends[1])
        )


def test_counts_equal_coefficients_of_a_product_of_polynomials() -> None:
    rng = np.random.default_rng(0)
    names = [f"op{i}" for i in range(40)]
    tables = {name: rng.integers(0, 60, size=25).tolist() for name in names}
    options = {name: list(range(25)) for name in names}
    limit = 1000
    feasible = FeasibleSet.from_table(options, tables, limit=limit)
    coefficients = polynomial(feasible.chain)
    assert sum(coefficients) == 25**40
    assert feasible.count == sum(coefficients[: limit + 1]) > 2**62
    rows = feasible.sample_indices(np.random.default_rng(0), 2000)
    assert (feasible.costs(rows)[:, 0] <= limit).all()


def test_twenty_million_points_with_hardly_any_equal_costs() -> None:
    # 5 positions are written out (161 thousand); 2 more are counted as 121 sets of those.
    chain = random_chain(7, 11, 3, greatest=10**8)
    limit = 300_000_000
    expected, tail = 0, chain.positions[5:]
    prefixes = make(Chain(chain.positions[:5], np.zeros((1, 3), dtype=int), ("flops",)))
    heads = np.array(list(itertools.product(*(range(n) for n in chain.shape[:5]))))
    heads = heads[prefixes.feasible(heads)]
    costs = prefixes.costs(heads)[:, 0]
    states = chain.positions[4].state[0, heads[:, 4]]
    for state in range(3):
        ascending = np.sort(costs[states == state])
        for a, b in itertools.product(range(11), range(11)):
            middle = int(tail[0].state[0, a])
            if tail[0].allowed[state, a] and tail[1].allowed[middle, b]:
                left = limit - int(tail[0].cost[0, state, a]) - int(tail[1].cost[0, middle, b])
                expected += int(np.searchsorted(ascending, left, "right"))
    feasible = make(chain, flops=(None, limit))
    assert feasible.count == expected
    assert feasible.count_bounds == (expected, expected)
    dearest = int(feasible.costs(np.array([feasible.dearest()]))[0, 0])
    assert make(chain, flops=(dearest, limit)).count >= 1
    assert make(chain, flops=(None, dearest)).count == expected


def test_draws_from_a_large_set_have_the_exact_marginals() -> None:
    chain = random_chain(12, 11, 3, greatest=40)
    limit = sorted(distribution(chain))[100]
    feasible = make(chain, flops=(None, limit))
    n = 40_000
    rows = feasible.sample_indices(np.random.default_rng(3), n)
    for place in (0, 5, 11):
        counts = np.bincount(rows[:, place], minlength=11)
        expected = np.zeros(11)
        for option in range(11):
            only = np.zeros_like(chain.positions[place].allowed)
            only[:, option] = chain.positions[place].allowed[:, option]
            positions = list(chain.positions)
            own = positions[place]
            positions[place] = Position(
                own.name, own.factors, own.options, own.cost, only, own.state
            )
            ways = distribution(Chain(tuple(positions), chain.final, chain.costs))
            expected[option] = sum(k for cost, k in ways.items() if cost <= limit)
        expected *= n / expected.sum()
        possible = expected > 0
        assert counts[~possible].sum() == 0
        chi_square = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
        assert chi_square < 10 + 5 * np.sqrt(20)


HUGE: dict[str, Any] = {"n_positions": 12, "n_options": 40, "n_states": 4, "greatest": 10**7}


def test_huge_is_counted_between_bounds_and_drawn_from() -> None:
    chain = random_chain(**HUGE)
    spread = chain.cost_of(make(chain).sample_indices(np.random.default_rng(0), 20_000))[:, 0]
    limit = int(np.quantile(spread, 0.1))
    feasible = make(chain, flops=(None, limit))
    with pytest.raises(TooLarge, match="memory"):
        _ = feasible.count
    low, high = feasible.count_bounds
    assert 0.98 * high < low < high < chain.size
    assert low * 0.95 < 0.1 * chain.size < high * 1.05
    rows = feasible.sample_indices(np.random.default_rng(1), 20_000)
    assert feasible.feasible(rows).all()
    assert feasible.acceptance > 0.9
    # Uniform draws fall below a lower limit as often as it has points.
    lower = int(np.quantile(spread, 0.05))
    share = (feasible.costs(rows)[:, 0] <= lower).mean()
    below = make(chain, flops=(None, lower)).count_bounds
    deviation = 5 * np.sqrt(0.25 / len(rows))
    assert below[0] / high - deviation < share < below[1] / low + deviation


def test_huge_in_order_around_and_at_the_edges() -> None:
    chain = random_chain(**HUGE)
    limit = 45_000_000
    feasible = make(chain, flops=(None, limit))
    first = [feasible.indices(p) for p in itertools.islice(feasible, 300)]
    costs = feasible.costs(np.array(first))[:, 0]
    assert (np.diff(costs) >= 0).all()
    assert len(set(first)) == 300
    assert first[0] == feasible.cheapest()
    # Exactly the points up to the 300th cost, no more and no fewer.
    assert make(chain, flops=(None, int(costs[-1]) - 1)).count == (costs < costs[-1]).sum()
    only = make(chain, flops=(None, int(costs[0])))
    assert only.count == (costs == costs[0]).sum()
    assert only.dearest() == only.cheapest() == only.sample(np.random.default_rng(0), 1)[0]
    dear = make(chain).dearest()
    assert dear not in feasible
    repaired = feasible.repair(dear)
    assert repaired in feasible
    changed = [place for place in range(12) if repaired[place] != dear[place]]
    # Putting any single change back leaves the budget or the space, so none was for nothing.
    for place in changed:
        assert (*repaired[:place], dear[place], *repaired[place + 1 :]) not in feasible
    around = feasible.neighbours(repaired)
    assert all(p in feasible and sum(map(int.__ne__, p, repaired)) == 1 for p in around)
    assert len(set(around)) == len(around) > 0


def test_a_narrow_pair_of_limits_on_a_large_chain() -> None:
    chain = random_chain(12, 11, 3, greatest=10**6)
    feasible = make(chain, flops=(4_000_000, 4_000_002))
    rows = feasible.sample_indices(np.random.default_rng(0), 500)
    assert feasible.feasible(rows).all()
    assert feasible.count > 10_000
    listed = list(itertools.islice(feasible.indices_in_order(), 2000))
    assert (feasible.costs(np.array(listed))[:, 0] == 4_000_000).all()
    assert len(set(listed)) == 2000
    assert feasible.costs(np.array([feasible.dearest()]))[0, 0] == 4_000_002


def test_three_limits_on_a_large_chain() -> None:
    chain = random_chain(12, 11, 3, greatest=10**6, n_costs=3)
    free = chain.cost_of(make(chain).sample_indices(np.random.default_rng(0), 50_000))
    low, high = np.quantile(free, [0.2, 0.5], axis=0).astype(int).tolist()
    limits: dict[str, tuple[int | None, int | None]] = {
        "flops": (None, high[0]),
        "params": (low[1], high[1]),
        "activations": (None, high[2]),
    }
    feasible = make(chain, **limits)
    rows = feasible.sample_indices(np.random.default_rng(0), 3000)
    assert feasible.feasible(rows).all()
    with pytest.raises(TooLarge, match="several limits"):
        _ = feasible.count
    share = feasible.feasible(make(chain).sample_indices(np.random.default_rng(2), 50_000)).mean()
    bounds = feasible.count_bounds
    assert bounds[0] <= share * chain.size * 1.2
    assert bounds[1] >= share * chain.size * 0.8
    # Measured acceptance turns the draws into an estimate of the same share.
    assert 0 < feasible.acceptance <= 1
    cheapest = next(iter(feasible))
    assert cheapest in feasible


def test_the_dearest_part_of_a_large_set() -> None:
    chain = random_chain(12, 11, 3, greatest=40)
    ways = distribution(chain)
    limit = sorted(ways)[150]
    feasible = make(chain, flops=(None, limit))
    top = feasible.top(0.2)
    assert top.limits["flops"][1] == limit
    edge = top.limits["flops"][0]
    assert edge is not None
    share = sum(n for cost, n in ways.items() if edge <= cost <= limit) / feasible.count
    without_edge = share - ways[edge] / feasible.count
    assert without_edge - 0.01 < 0.2 < share + 0.01
    assert (top.costs(top.sample_indices(np.random.default_rng(0), 1000))[:, 0] >= edge).all()


def test_the_dearest_part_is_exact_wherever_the_set_is_counted_or_listed() -> None:
    chain = random_chain(12, 11, 3, greatest=40)
    ways = distribution(chain)
    limits: list[tuple[int | None, int | None]] = [
        (None, None), (None, sorted(ways)[150]), (sorted(ways)[60], sorted(ways)[90])
    ]  # fmt: skip
    for low, high in limits:
        inside = {
            cost: n
            for cost, n in ways.items()
            if (low is None or cost >= low) and (high is None or cost <= high)
        }
        total = sum(inside.values())
        for fraction in (Fraction(1, 2), Fraction(1, 8), Fraction(1, 2**20)):
            # The dearest cost from which on the points are at least that part.
            edge = max(
                cost
                for cost in inside
                if sum(n for c, n in inside.items() if c >= cost) >= fraction * total
            )
            assert make(chain, flops=(low, high)).top(float(fraction)).limits["flops"][0] == edge


@pytest.fixture(params=["every combination", "the points that fit"])
def narrow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Set, Ints]:
    """A set within two narrow limits, held in memory, and its points by brute force."""
    if request.param == "the points that fit":
        monkeypatch.setattr(feasible_set, "_MOST_ENUMERATED", 0)
    chain = random_chain(5, 9, 1, greatest=10**6, n_costs=2)
    rows = np.stack(np.unravel_index(np.arange(9**5), chain.shape), axis=1)
    rows = rows[chain.allows(rows)]
    costs = chain.cost_of(rows)
    low, high = np.quantile(costs, [0.5, 0.53], axis=0).astype(int).tolist()
    good = ((costs >= low) & (costs <= high)).all(axis=1)
    return make(chain, flops=(low[0], high[0]), params=(low[1], high[1])), rows[good]


def test_the_dearest_part_within_several_limits_is_exact(narrow: tuple[Set, Ints]) -> None:
    feasible, inside = narrow
    costs = np.sort(feasible.costs(inside)[:, 0])[::-1]
    for part in (2, 8, 32):
        edge = costs[-(-len(costs) // part) - 1]
        assert feasible.top(1 / part).limits["flops"][0] == edge


def test_repair_within_two_narrow_limits_changes_the_fewest_positions(
    narrow: tuple[Set, Ints], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "_MOST_BEGINNINGS", 20)
    feasible, inside = narrow
    chain, limits = feasible.chain, Limits.of(feasible.chain, feasible.limits)
    missed = 0
    for given in np.random.default_rng(1).integers(chain.shape, size=(40, len(chain))):
        changed = (inside != given).sum(axis=1)
        repaired = np.array(feasible.repair(tuple(given.tolist())))
        assert feasible.feasible(repaired[None])[0]
        assert (repaired != given).sum() == changed.min()
        followed = nearest.nearest(chain, limits, tuple(given.tolist()))
        missed += followed is None or (np.array(followed) != given).sum() > changed.min()
    assert missed > 3  # by following 20 beginnings alone
