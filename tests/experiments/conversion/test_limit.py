"""A conversion's budget, as people write it."""

from __future__ import annotations

import pytest

from convnas.experiments.conversion.limit import read_limit
from convnas.search_space import InputError
from convnas.search_space.layers.base import LayerCost

COST = LayerCost(flops=1001, params=200, activations=50)


@pytest.mark.parametrize(
    ("budget", "limit"),
    [
        ("60%", ("flops", 600)),
        (" 12.5 % ", ("flops", 125)),
        ("1.5K", ("flops", 1500)),
        (70, ("flops", 70)),
        ({"params": "50%"}, ("params", 100)),
        ({"activations": 30}, ("activations", 30)),
    ],
)
def test_shares_and_numbers(budget, limit) -> None:
    assert read_limit(budget, COST) == limit


@pytest.mark.parametrize(
    "budget", ["0%", "101%", "-5%", "%", "much", -3, None, {}, {"latency": "5ms"}, {"flops": "x"}]
)
def test_anything_else_is_one_line(budget) -> None:
    with pytest.raises(InputError, match="budget"):
        read_limit(budget, COST)
