"""A strategy that somebody wrote, the examples' greedy one, by its dotted name."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
import pytest

import convnas
from convnas import FeasibleSet, InputError, strategies

PARTS = Path(convnas.__file__).parent / "examples" / "parts"
TABLE: dict[str, Any] = {
    "options": {name: ["a", "b", "c", "d"] for name in ("one", "two", "three")},
    "cost": {name: [1, 2, 3, 4] for name in ("one", "two", "three")},
    "limit": 9,
}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PARTS))


def cost(options: Iterable[str]) -> int:
    return sum("abcd".index(option) + 1 for option in options)


def differing(one: dict[str, str], other: dict[str, str]) -> int:
    return sum(one[name] != other[name] for name in one)


def test_it_proposes_neighbours_of_the_best_and_nothing_over_budget_or_twice() -> None:
    feasible = FeasibleSet.from_table(**TABLE)
    sampler = strategies.create("greedy.Greedy", feasible, seed=1, startup=3)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    inside = [
        dict(zip(TABLE["options"], options, strict=True))
        for options in itertools.product("abcd", repeat=3)
        if cost(options) <= 9
    ]
    points: list[dict[str, str]] = []
    scores: list[float] = []
    for number in range(12):
        trial = study.ask()
        point = feasible.suggest(trial)
        assert point not in points
        assert point in inside
        if number >= 3:
            best = points[scores.index(max(scores))]
            around = [each for each in inside if differing(each, best) == 1]
            if any(each not in points for each in around):
                assert point in around
        points.append(point)
        scores.append(cost(point.values()))
        study.tell(trial, scores[-1])


def test_its_settings_are_checked_like_anybody_s() -> None:
    feasible = FeasibleSet.from_table(**TABLE)
    assert strategies.settings_of("greedy.Greedy") == ["startup"]
    with pytest.raises(InputError, match=r"strategy\.start: this key .* did you mean 'startup'"):
        strategies.create("greedy.Greedy", feasible, start=3)
    with pytest.raises(InputError, match=r"strategy\.name: 'greedy\.Greed' is not allowed"):
        strategies.create("greedy.Greed", feasible)
