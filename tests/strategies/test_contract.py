"""What every strategy promises, checked on every one of them from the study it leaves behind."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sqlalchemy import event

from convnas import strategies
from convnas.search_space.feasible.feasible_set import FeasibleSet

Table = FeasibleSet[dict[str, Any]]

optuna.logging.set_verbosity(optuna.logging.WARNING)

DETERMINISTIC = {"exhaustive", "nni-grid"}
COSTS = [0, 1, 3, 4]
LIMIT = 5


def small_set(limit: int = LIMIT) -> Table:
    names = [f"op{i}" for i in range(4)]
    return FeasibleSet.from_table(
        options={name: ["none", "skip", 3, 0.5] for name in names},
        cost=dict.fromkeys(names, COSTS),
        coupling={("op1", "op2"): [[0, 0, 0, 2]] * 3 + [[1, 0, 0, 0]]},
        limit=limit,
    )


def brute_force(limit: int = LIMIT) -> set[tuple[int, ...]]:
    return {
        point
        for point in itertools.product(range(4), repeat=4)
        if sum(COSTS[o] for o in point)
        + (2 if point[1] < 3 and point[2] == 3 else 0)
        + (1 if point[1] == 3 and point[2] == 0 else 0)
        <= limit
    }


@pytest.fixture(params=strategies.available())
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def in_memory(tmp_path: Path) -> BaseStorage:
    return InMemoryStorage()


@cache
def _empty_database() -> bytes:
    """An SQLite file with Optuna's tables, which take Optuna longer to make than to fill."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        open_database(path).engine.dispose()
        return path.read_bytes()


def sqlite(tmp_path: Path) -> BaseStorage:
    path = tmp_path / "study.db"
    if not path.exists():
        path.write_bytes(_empty_database())
    return open_database(path)


def open_database(path: Path) -> RDBStorage:
    """An SQLite file that waits for its turn, not for the disk."""

    def configure(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    url = f"sqlite:///{path}"
    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 120}})
    event.listen(storage.engine, "connect", configure)
    storage.engine.dispose()
    return storage


def journal(tmp_path: Path) -> BaseStorage:
    return JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))


def open_study(name: str, feasible: Table, storage: BaseStorage, seed: int = 0) -> optuna.Study:
    sampler = strategies.create(name, feasible, seed=seed)
    return optuna.create_study(
        study_name="s", storage=storage, sampler=sampler, direction="maximize", load_if_exists=True
    )


def score(point: dict[str, Any]) -> float:
    return float(sum(3 * (value == 3) + (value == "skip") for value in point.values()))


def run(study: optuna.Study, feasible: Table, n: int) -> list[tuple[int, ...]]:
    """Ask and tell `n` trials, every fourth failed, every fifth pruned."""
    points = []
    for _ in range(n):
        trial = study.ask()
        point = feasible.suggest(trial)
        points.append(feasible.indices(point))
        if trial.number % 4 == 3:
            study.tell(trial, state=TrialState.FAIL)
        elif trial.number % 5 == 4:
            trial.report(score(point), 1)
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, score(point))
    return points


def points_of(study: optuna.Study, feasible: Table) -> list[tuple[int, ...]]:
    return [feasible.indices(feasible.from_params(t.params)) for t in study.trials if t.params]


@pytest.mark.parametrize("make_storage", [in_memory, sqlite, journal])
def test_every_point_within_the_budget_once_then_exhausted(
    name: str, make_storage: Callable[[Path], BaseStorage], tmp_path: Path
) -> None:
    feasible, expected = small_set(2), brute_force(2)
    study = open_study(name, feasible, make_storage(tmp_path))
    run(study, feasible, len(expected))
    with pytest.raises(strategies.Exhausted):
        study.ask()
    proposed = points_of(study, feasible)
    assert len(proposed) == len(expected)
    assert set(proposed) == expected
    assert study.trials[-1].state == TrialState.FAIL
    assert all(t.state.is_finished() for t in study.trials)


def test_same_seed_same_sequence_and_seed_zero_counts(name: str) -> None:
    feasible = small_set()
    runs = [
        run(open_study(name, feasible, InMemoryStorage(), seed=seed), feasible, 25)
        for seed in (0, 0, 1)
    ]
    assert runs[0] == runs[1]
    assert (runs[0] == runs[2]) == (name in DETERMINISTIC)


@pytest.mark.parametrize("make_storage", [sqlite, journal])
def test_a_study_reopened_midway_goes_on_as_if_it_had_not_stopped(
    name: str, make_storage: Callable[[Path], BaseStorage], tmp_path: Path
) -> None:
    feasible = small_set()
    live = run(open_study(name, feasible, InMemoryStorage()), feasible, 24)
    replayed = []
    for n in (11, 1, 12):
        study = open_study(name, small_set(), make_storage(tmp_path))
        replayed += run(study, feasible, n)
    assert replayed == live


def test_running_trials_hold_distinct_points_before_and_after_they_are_suggested(
    name: str,
) -> None:
    feasible = small_set()
    study = open_study(name, feasible, InMemoryStorage())
    run(study, feasible, 12)
    trials = [study.ask() for _ in range(8)]
    for trial in trials:
        feasible.suggest(trial)
    points = points_of(study, feasible)
    assert len(set(points)) == len(points) == 20
    assert set(points) <= brute_force()


def test_a_running_trial_taken_up_again_keeps_its_point(name: str, tmp_path: Path) -> None:
    feasible = small_set(0)
    open_study(name, feasible, sqlite(tmp_path)).ask()
    study = open_study(name, feasible, sqlite(tmp_path))
    (left,) = study.get_trials(states=[TrialState.RUNNING])
    adopted = optuna.trial.Trial(study, left._trial_id)
    assert feasible.indices(feasible.suggest(adopted)) == (0, 0, 0, 0)
    study.tell(adopted, 1.0)
    with pytest.raises(strategies.Exhausted):
        study.ask()


def test_one_option_everywhere(name: str) -> None:
    feasible = FeasibleSet.from_table({"a": ["x"], "b": [1]}, {"a": [2], "b": [3]}, limit=5)
    study = open_study(name, feasible, InMemoryStorage())
    assert feasible.suggest(study.ask()) == {"a": "x", "b": 1}
    with pytest.raises(strategies.Exhausted):
        study.ask()


def test_enqueued_points_are_neither_replaced_nor_repeated(name: str) -> None:
    feasible, expected = small_set(1), brute_force(1)
    study = open_study(name, feasible, InMemoryStorage())
    wanted = {"op0": "skip", "op1": "none", "op2": "none", "op3": "none"}
    first = study.ask()
    if feasible.suggest(first) == wanted:
        wanted["op0"] = "none"
    study.enqueue_trial(wanted)
    assert feasible.suggest(study.ask()) == wanted
    run(study, feasible, len(expected) - 2)
    assert sorted(points_of(study, feasible)) == sorted(expected)


def test_other_parameters_of_the_user_are_sampled_beside(name: str) -> None:
    feasible = small_set()
    rates = []
    for _ in range(2):
        trial = open_study(name, feasible, InMemoryStorage()).ask()
        feasible.suggest(trial)
        rates.append(trial.suggest_float("rate", 0.1, 0.9))
    assert rates[0] == rates[1]


def test_optimize_with_threads_ends_with_exhausted(name: str) -> None:
    feasible, expected = small_set(2), brute_force(2)
    study = open_study(name, feasible, InMemoryStorage())

    def objective(trial: optuna.Trial) -> float:
        return score(feasible.suggest(trial))

    with pytest.raises(strategies.Exhausted):
        study.optimize(objective, n_trials=200, n_jobs=3)
    assert sorted(points_of(study, feasible)) == sorted(expected)


def test_a_bracket_pruner_hides_no_trial(name: str) -> None:
    feasible = small_set()
    study = open_study(name, feasible, InMemoryStorage())
    study.pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9)
    points = run(study, feasible, 30)
    assert len(set(points)) == 30


def test_two_objectives(name: str) -> None:
    feasible = small_set()
    sampler = strategies.create(name, feasible, seed=0)
    study = optuna.create_study(sampler=sampler, directions=["maximize", "minimize"])
    for _ in range(15):
        trial = study.ask()
        point = feasible.suggest(trial)
        study.tell(trial, (score(point), float(trial.user_attrs["cost"])))
    assert len(set(points_of(study, feasible))) == 15


def _until_exhausted(path: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    feasible = small_set(2)
    study = open_study("random", feasible, open_database(Path(path)))
    with contextlib.suppress(strategies.Exhausted):
        run(study, feasible, 1000)


def test_four_processes_on_one_database_share_the_points_without_repeats(tmp_path: Path) -> None:
    # The claim is the wrapper's, the same for every strategy.
    feasible, path = small_set(2), tmp_path / "study.db"
    study = open_study("random", feasible, open_database(path))
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_until_exhausted, args=(str(path),)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert sorted(points_of(study, feasible)) == sorted(brute_force(2))
