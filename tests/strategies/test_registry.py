"""Making a strategy by name, and what is said when that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from convnas import strategies
from convnas.search_space.errors import InputError
from convnas.search_space.feasible.feasible_set import FeasibleSet

TABLE = FeasibleSet.from_table({"a": ["x", "y"], "b": [1, 2]}, {"a": [0, 1], "b": [0, 1]}, limit=1)


@pytest.mark.parametrize("name", strategies.available())
def test_every_name_makes_a_strategy_and_lists_its_settings(name: str) -> None:
    made = strategies.create(name, TABLE, seed=3)
    assert made.seed == 3
    assert not {"seed", "feasible"} & set(strategies.settings_of(name))


def test_every_extra_that_strategies_need_is_installed_where_tests_run() -> None:
    missing = set(strategies.names()) - set(strategies.available())
    assert missing <= {"nni-nas-rl"}  # make test-rl


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("tep", {}, "strategy.name: 'tep' is not allowed; did you mean 'tpe'?"),
        (
            "nni-nas-darts",
            {},
            "strategy.name: 'nni-nas-darts' is not allowed; it trains one supernet",
        ),
        ("tpe", {"n_startup": 3}, "strategy.n_startup: this key is not allowed; did you mean"),
        ("random", {"tries": 3}, "strategy.tries: this key is not allowed"),
        ("tpe", {"n_startup_trials": 0}, "strategy.n_startup_trials: 0 is not allowed; it must be"),
        ("tpe", {"n_ei_candidates": "9"}, "strategy.n_ei_candidates: '9' is not allowed"),
        ("random", {"seed": -1}, "strategy.seed: -1 is not allowed; it must be a whole number"),
    ],
)
def test_what_is_wrong_is_named(name: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError) as caught:
        strategies.create(name, TABLE, **settings)
    assert str(caught.value).startswith(told)
