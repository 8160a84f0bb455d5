"""Budgets as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from convnas.search_space.budget import Budget, format_quantity, parse_quantity
from convnas.search_space.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("400K", 400_000),
        ("1.5M", 1_500_000),
        ("40 m", 40_000_000),
        ("2G", 2_000_000_000),
        (".5T", 500_000_000_000),
        ("1.2345K", 1234),
        ("7", 7),
        ("1e6", 1_000_000),
        (1e6, 1_000_000),
        (2_500_000.0, 2_500_000),
        (123, 123),
        # A double would make 0.1 + 0.2 of these; decimals are read as written.
        ("1.001G", 1_001_000_000),
        ("9007199254740993", 2**53 + 1),
    ],
)
def test_quantity_is_read_exactly(text: Any, value: int) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text", ["40Q", "", "M", "-3", -3, 0, "0.2", "1,5M", True, None, [1], float("nan"), "1e", "KM"]
)
def test_what_is_no_quantity_is_named_with_what_is_allowed(text: Any) -> None:
    with pytest.raises(InputError, match=r"400K, 1\.5G") as caught:
        parse_quantity(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1_256_960, "1.26M"),
        (999, "999"),
        (1000, "1K"),
        (999_499, "999K"),
        (999_500, "1M"),
        (40_000_000, "40M"),
        (4_089_184_256, "4.09G"),
        (0, "0"),
        (-1500, "-1.5K"),
    ],
)
def test_three_digits_and_a_unit(value: int, text: str) -> None:
    assert format_quantity(value) == text


def test_every_form_of_a_limit() -> None:
    budget = Budget(flops="1M", params=(None, 2000), activations={"min": "1K", "max": "3K"})
    assert budget.limits == {
        "flops": (None, 1_000_000),
        "params": (None, 2000),
        "activations": (1000, 3000),
    }
    assert budget == Budget.from_config(budget.to_config())
    assert hash(budget) == hash(Budget.from_config(budget.to_config()))
    assert Budget.from_config(None) == Budget() == Budget.from_config({})
    for nothing in (Budget(flops=(None, None)), Budget(latency={}), Budget(params={"min": None})):
        assert nothing == Budget()
        assert hash(nothing) == hash(Budget())
        assert repr(nothing) == "Budget()"
    assert Budget(flops=("1K", None)).limits == {"flops": (1000, None)}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"flop": "1M"}, "budget.flop: this key is not allowed; did you mean 'flops'?"),
        ({"flops": {"maximum": 1}}, "budget.flops.maximum: this key"),
        ({"flops": (5, 3)}, "budget.flops: (5, 3) is not allowed; the least must not be above"),
        ({"flops": [1, 2, 3]}, "budget.flops: [1, 2, 3] is not allowed; a pair"),
        ({"params": "40Q"}, "budget.params: '40Q' is not allowed"),
        ("1M", "budget: '1M' is not allowed; it must be a mapping"),
    ],
)
def test_a_wrong_budget_is_one_line_with_its_key(config: Any, told: str) -> None:
    with pytest.raises(InputError) as caught:
        Budget.from_config(config)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)
