from __future__ import annotations

import itertools

import numpy as np
import pytest

from convnas import Budget, FeasibleSet, SearchSpace
from convnas.search_space.feasible.statistics import effects, histogram

SPACE = {
    "backbone": "resnet-cifar",
    "input": [1, 8, 8],
    "classes": 10,
    "stage": {"conv": ["vanilla", "octave"], "alpha": [0.25, 0.5], "depth": [1, 2]},
}


def test_a_histogram_of_a_table_by_hand() -> None:
    """Sums of two dice of faces 0 to 3: 1, 2, 3, 4, 3, 2, 1 of 16."""
    dice = FeasibleSet.from_table(
        {"a": [0, 1, 2, 3], "b": [0, 1, 2, 3]}, {"a": [0, 1, 2, 3], "b": [0, 1, 2, 3]}
    )
    found = histogram(dice, bins=7)
    assert found.exact
    assert [round(16 * share) for share in found.shares] == [1, 2, 3, 4, 3, 2, 1]
    assert (found.edges[0], found.edges[-1]) == (0, 6)


@pytest.mark.parametrize("granularity", ["stage", "block"])
def test_effects_are_differences_of_means_over_all_architectures(granularity) -> None:
    whole = SearchSpace.from_config({**SPACE, "granularity": granularity}).within(None)
    rows = np.array(list(whole.indices_in_order()))
    costs = whole.costs(rows)[:, 0]
    params = [whole.params(whole.point(row)) for row in rows]
    found = effects(whole.chain)
    assert found.keys() == whole.distributions.keys()
    for name, labels in found.items():
        assert list(labels) == list(whole.distributions[name])
        for label, effect in labels.items():
            mine = costs[[point[name] == label for point in params]]
            assert effect == pytest.approx(mine.mean() - costs.mean())


def test_a_large_space_is_drawn_from() -> None:
    table = {f"p{i}": list(range(8)) for i in range(9)}
    large = FeasibleSet.from_table(table, table)
    found = histogram(large, bins=9)
    assert not found.exact
    assert sum(found.shares) == pytest.approx(1)
    # Nine uniform numbers from 0 to 7: mean 31.5, so both halves weigh the same.
    middle = [(a + b) / 2 for a, b in itertools.pairwise(found.edges)]
    assert np.average(middle, weights=found.shares) == pytest.approx(31.5, abs=0.5)


def test_a_set_that_cannot_be_counted_still_answers() -> None:
    """Two limits on 11 ** 16 architectures: no count, but bounds, a share and a draw."""
    stage = {"conv": ["vanilla", "octave", "hetconv"], "alpha": [0.25, 0.5], "p": [2, 4]}
    space = SearchSpace.from_config(
        {
            "backbone": "resnet50",
            "input": [3, 224, 224],
            "classes": 1000,
            "granularity": "block",
            "stage": stage,
        }
    )
    feasible = space.within(Budget(flops="3G", params="20M"))
    low, high = feasible.count_bounds
    assert low <= high
    assert 0 <= feasible.share <= 1
    assert not feasible.holds_at_most(1000)
    (arch,) = feasible.sample(np.random.default_rng(0), 1)
    assert arch in feasible
