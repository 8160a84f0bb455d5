"""The table of claims on a real server, asked by many at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from convnas.experiments.cluster.ledger import Lost, PostgresLedger
from convnas.experiments.run.postgres import Database
from convnas.tests.experiments.conftest import until

MANY = 8


@pytest.fixture
def storage(url: str) -> Iterator[RDBStorage]:
    storage = Database.parse(url).open(create=True, connections=2 * MANY)
    PostgresLedger.make_table(storage)
    yield storage
    storage.engine.dispose()


@pytest.fixture
def study(storage: RDBStorage) -> optuna.Study:
    return optuna.create_study(storage=storage, study_name="mine", direction="maximize")


@pytest.fixture
def ledgers(storage: RDBStorage, study: optuna.Study) -> list[PostgresLedger]:
    """One for each of many nodes, so that only the database keeps them apart."""
    return [PostgresLedger(storage, study._study_id, grace=1000.0) for _ in range(MANY)]


def test_never_one_trial_too_many_whoever_asks(
    ledgers: list[PostgresLedger], study: optuna.Study
) -> None:
    def take_all(node: int) -> list[int]:
        found: list[int] = []
        while (taken := ledgers[node].take(f"node{node}", 50, None)).trial_id is not None:
            assert not taken.again
            ledgers[node].keep(f"node{node}", found)
            found.append(taken.trial_id)
        return found

    with ThreadPoolExecutor(MANY) as pool:
        taken = [trial for each in pool.map(take_all, range(MANY)) for trial in each]
    assert len(taken) == len(set(taken)) == 50
    assert [t.number for t in study.trials] == list(range(50))


def test_everybody_wants_the_same_and_nobody_gets_what_another_has(
    ledgers: list[PostgresLedger],
) -> None:
    keys = [f"key{i}" for i in range(5 * MANY)]

    def claim_some(node: int) -> list[str]:
        name, won = f"node{node}", []
        for _ in range(5):
            taken = ledgers[node].take(name, 5 * MANY, None).trial_id
            assert taken is not None
            won.append(next(key for key in keys if ledgers[node].claim(name, taken, key)))
        return won

    with ThreadPoolExecutor(MANY) as pool:
        won = [key for mine in pool.map(claim_some, range(MANY)) for key in mine]
    assert sorted(won) == sorted(keys)


def test_the_unique_index_decides_between_two(ledgers: list[PostgresLedger]) -> None:
    first = ledgers[0].take("a", 9, None).trial_id
    second = ledgers[1].take("b", 9, None).trial_id
    assert first is not None
    assert second is not None
    assert ledgers[0].claim("a", first, "key")
    assert not ledgers[1].claim("b", second, "key")
    assert ledgers[0].claim("a", first, "key")
    with pytest.raises(Lost):
        ledgers[1].claim("b", first, "other")


def test_what_a_silent_node_held_is_taken_over_once_under_its_own_number(
    storage: RDBStorage, study: optuna.Study
) -> None:
    grace = 3.0
    ledgers = [PostgresLedger(storage, study._study_id, grace=grace) for _ in range(MANY)]
    left = ledgers[0].take("dead", 1, None).trial_id
    assert left is not None
    assert ledgers[0].claim("dead", left, "key")
    deadline = time.monotonic() + 2 * grace
    while time.monotonic() < deadline:  # the heartbeat is what keeps it
        beat = time.monotonic()
        assert ledgers[0].keep("dead", [left]) == {left}
        taken = ledgers[1].take("b", 1, None).trial_id
        assert taken is None or time.monotonic() - beat > grace
        time.sleep(0.1)
    time.sleep(grace + 0.5)
    with ThreadPoolExecutor(MANY) as pool:
        takers = list(pool.map(lambda i: ledgers[i].take(f"node{i}", 1, None), range(MANY)))
    (taken_over,) = (t for t in takers if t.trial_id is not None)
    assert (taken_over.trial_id, taken_over.again) == (left, True)
    new = takers.index(taken_over)
    assert ledgers[0].keep("dead", [left]) == set()
    assert ledgers[new].claim(f"node{new}", left, "key")


def test_a_node_does_not_take_over_what_it_trains_itself(
    ledgers: list[PostgresLedger], storage: RDBStorage
) -> None:
    """Silent for longer than the grace, a process that hung for instance: others take its trial."""
    held = ledgers[0].take("a", 1, None).trial_id
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE convnas_claims SET beat = now() - interval '2 hours'")
    assert ledgers[0].take("a", 1, None).trial_id is None
    taken = ledgers[1].take("b", 1, None)
    assert (taken.trial_id, taken.again) == (held, True)


def test_what_is_given_up_is_taken_over_at_once_and_a_trial_without_a_claim_too(
    storage: RDBStorage, study: optuna.Study
) -> None:
    ledger = PostgresLedger(storage, study._study_id, grace=1000.0)
    given = ledger.take("a", 9, None).trial_id
    assert given is not None
    ledger.release("a", [given])
    assert ledger.take("b", 9, None).trial_id == given
    orphan = storage.create_new_trial(study._study_id)  # its node died before it could note it
    taken = ledger.take("c", 9, None)
    assert (taken.trial_id, taken.again) == (orphan, True)
    assert ledger.take("d", 2, None).trial_id is None


def test_finished_trials_are_left_alone_and_failed_and_pruned_ones_count(
    ledgers: list[PostgresLedger], study: optuna.Study, storage: RDBStorage
) -> None:
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL):
        trial_id = ledgers[0].take("a", 3, None).trial_id
        assert trial_id is not None
        storage.set_trial_state_values(
            trial_id, state, [1.0] if state == TrialState.COMPLETE else None
        )
        ledgers[0].release("a", [trial_id])
    assert ledgers[1].take("b", 3, None).trial_id is None
    assert ledgers[1].counts() == {"COMPLETE": 1, "PRUNED": 1, "FAIL": 1}
    assert ledgers[1].nodes() == []


def test_a_trial_in_the_queue_is_taken_first(
    ledgers: list[PostgresLedger], study: optuna.Study
) -> None:
    study.enqueue_trial({"x": 1})
    taken = ledgers[0].take("a", 1, None)
    assert taken.trial_id == study.trials[0]._trial_id
    assert study.trials[0].state == TrialState.RUNNING
    assert ledgers[0].take("a", 1, None).trial_id is None


def test_a_small_set_is_exhausted_when_every_architecture_is_held(
    ledgers: list[PostgresLedger], storage: RDBStorage
) -> None:
    for number in range(2):
        trial_id = ledgers[0].take("a", 100, 2).trial_id
        assert trial_id is not None
        if number:  # one that was refused holds nothing
            storage.set_trial_state_values(trial_id, TrialState.FAIL)
        else:
            assert ledgers[0].claim("a", trial_id, "key0")
    last = ledgers[0].take("a", 100, 2).trial_id
    assert last is not None
    assert ledgers[0].take("a", 100, 2).exhausted


def test_deleting_the_study_with_optuna_deletes_its_claims(
    ledgers: list[PostgresLedger], storage: RDBStorage, url: str
) -> None:
    assert ledgers[0].take("a", 1, None).trial_id is not None
    optuna.delete_study(study_name="mine", storage=storage)
    with storage.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT count(*) FROM convnas_claims").scalar()
    assert rows == 0


def test_only_one_launch_at_a_time(ledgers: list[PostgresLedger]) -> None:
    with ledgers[0].launching() as alone:
        assert alone
        with ledgers[1].launching() as second:
            assert not second
    until(lambda: _alone(ledgers[1]), 10)


def _alone(ledger: PostgresLedger) -> bool:
    with ledger.launching() as alone:
        return alone
