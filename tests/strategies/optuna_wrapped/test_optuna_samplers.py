"""Optuna's samplers by name, by dotted name and as objects, in both encodings."""

from __future__ import annotations

import itertools
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler

from convnas import strategies
from convnas.search_space import InputError
from convnas.search_space.feasible.feasible_set import FeasibleSet
from convnas.strategies.optuna_wrapped.encoding import Conditional

Table = FeasibleSet[dict[str, Any]]
LABELS = ["vanilla", "octave(alpha=0.25)", "octave(alpha=0.5)", "res2net(scales=4, base_width=26)"]
COSTS = [9, 7, 4, 6]

optuna.logging.set_verbosity(optuna.logging.WARNING)


def table(limit: int = 26) -> Table:
    names = [f"stage{i}" for i in range(1, 5)]
    return FeasibleSet.from_table(
        options={**dict.fromkeys(names, LABELS), "depth": [1, 2]},
        cost={**dict.fromkeys(names, COSTS), "depth": [0, 1]},
        limit=limit,
    )


def run(study: optuna.Study, feasible: Table, n: int) -> list[tuple[int, ...]]:
    rows = []
    for _ in range(n):
        trial = study.ask()
        rows.append(feasible.indices(feasible.suggest(trial)))
        study.tell(trial, float(sum(COSTS[option] % 5 for option in rows[-1][:-1])))
    return rows


def searched(sampler: BaseSampler, feasible: Table, n: int = 40) -> list[tuple[int, ...]]:
    return run(optuna.create_study(direction="maximize", sampler=sampler), feasible, n)


def test_a_label_that_names_numbers_becomes_parameters_of_its_own() -> None:
    chain = table().chain
    params = Conditional(chain).params((1, 3, 0, 2, 1))
    assert params == {
        "stage1": "octave",
        "stage1.octave.alpha": "0.25",
        "stage2": "res2net",
        "stage2.res2net.scales": "4",
        "stage2.res2net.base_width": "26",
        "stage3": "vanilla",
        "stage4": "octave",
        "stage4.octave.alpha": "0.5",
        "depth": 2,
    }


def test_every_point_is_reached_in_the_conditional_encoding_and_comes_back() -> None:
    encoding = Conditional(table().chain)
    for point in itertools.product(range(4), range(4), range(4), range(4), range(2)):
        params = encoding.params(point)
        asked: dict[str, Any] = {}

        def ask(name: str, labels: Any, params: Any = params, asked: Any = asked) -> Any:
            assert params[name] in labels
            asked[name] = params[name]
            return params[name]

        assert encoding.walk(ask) == point
        assert asked == params


@pytest.mark.parametrize("name", ["tpe", "gp", "nsga2", "nsga3"])
def test_conditional_searches_stay_inside_and_are_rebuilt_from_the_study(name: str) -> None:
    settings: dict[str, Any] = {"encoding": "conditional"}
    if name.startswith("nsga"):
        settings["population_size"] = 8
    n = 14 if name == "gp" else 30
    live = searched(strategies.create(name, table(), **settings), table(), n)
    assert len(set(live)) == n
    assert all(sum(COSTS[o] for o in row[:4]) + row[4] <= 26 for row in live)
    storage, replayed = optuna.storages.InMemoryStorage(), []
    for part in (12, n - 12):
        study = optuna.create_study(
            storage=storage,
            study_name="s",
            direction="maximize",
            load_if_exists=True,
            sampler=strategies.create(name, table(), **settings),
        )
        replayed += run(study, table(), part)
    assert replayed == live


def test_nsga2_counts_its_generations_on_the_real_trials() -> None:
    feasible = table()
    sampler = strategies.create("nsga2", feasible, encoding="conditional", population_size=6)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    run(study, feasible, 20)
    generations = [
        value
        for trial in study.trials
        for key, value in trial.system_attrs.items()
        if "generation" in key
    ]
    assert generations == [number // 6 for number in range(20)]


@pytest.mark.parametrize("encoding", ["flat", "conditional"])
def test_tpe_proposes_better_points_once_it_has_learned(encoding: str) -> None:
    names = [f"stage{i}" for i in range(8)]
    feasible = FeasibleSet.from_table(
        options=dict.fromkeys(names, LABELS), cost=dict.fromkeys(names, COSTS), limit=60
    )
    study = optuna.create_study(
        direction="maximize", sampler=strategies.create("tpe", feasible, encoding=encoding)
    )
    rows = run(study, feasible, 60)
    # COSTS % 5 is 4, 2, 4, 1: the points worth most use the options 0 and 2 only.
    good = [sum(option in (0, 2) for option in row) for row in rows]
    assert sum(good[40:]) / 20 > sum(good[:10]) / 10 + 0.5


@pytest.mark.parametrize("name", ["optuna.samplers.RandomSampler", "optuna.samplers.TPESampler"])
def test_any_sampler_by_its_dotted_name(name: str) -> None:
    feasible = table()
    rows = [searched(strategies.create(name, feasible, seed=s), feasible) for s in (0, 0, 1)]
    assert len(set(rows[0])) == 40
    assert all(sum(COSTS[o] for o in row[:4]) + row[4] <= 26 for row in rows[0])
    assert rows[0] == rows[1] != rows[2]


def test_a_sampler_object_keeps_its_settings_and_is_left_as_it_was() -> None:
    feasible = table()
    given = optuna.samplers.TPESampler(seed=7, n_startup_trials=5, multivariate=False)
    first = searched(strategies.create(given, feasible, seed=3), feasible)
    assert first == searched(strategies.create(given, feasible, seed=3), feasible)
    assert first != searched(strategies.create(given, feasible, seed=4), feasible)
    assert len(set(first)) == 40


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("optuna.samplers.NoSampler", {}, "NoSampler"),
        ("no_such_module.Sampler", {}, "no_such_module"),
        ("optuna.pruners.NopPruner", {}, "samplers"),
        ("optuna.samplers.BruteForceSampler", {}, "exhaustive"),
        ("optuna.samplers.TPESampler", {"bogus": 1}, "bogus"),
        ("tpe", {"encoding": "curly"}, "encoding: 'curly'"),
        ("qmc", {"encoding": "conditional"}, "flat"),
        ("qmc", {"qmc_type": "curly"}, "curly"),
        ("nsga2", {"population_size": 1}, "population_size"),
    ],
)
@pytest.mark.filterwarnings("ignore:BruteForceSampler")
def test_what_cannot_be_is_refused_in_one_line(
    name: str, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=says) as refused:
        strategies.create(name, table(), **settings)
    assert "\n" not in str(refused.value)
