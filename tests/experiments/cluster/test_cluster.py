"""A search of several processes on a real PostgreSQL, some killed or stopped in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from convnas.experiments.cli import main
from convnas.experiments.ports import free_port
from convnas.search_space import Architecture
from convnas.tests.experiments.cluster.postgres import Server
from convnas.tests.experiments.conftest import until

Config = dict[str, Any]
Start = Callable[..., "subprocess.Popen[str]"]
Write = Callable[..., str]

pytestmark = pytest.mark.xdist_group("cluster")

LONG = 300.0


@pytest.fixture
def shared(scripted: Config, url: str) -> Config:
    """The small experiment on the database."""
    return {**scripted, "storage": {"url": url, "heartbeat": 1, "grace": 6}}


def trials_at(url: str) -> list[FrozenTrial]:
    """As Optuna itself reads them."""
    storage = RDBStorage(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        return optuna.load_study(study_name="small", storage=storage).trials
    finally:
        storage.engine.dispose()


def lines(record: Path) -> list[tuple[int, str]]:
    """Process and architecture of every evaluation that has begun, in their order."""
    text = record.read_text() if record.exists() else ""
    return [(int(line.split()[0]), line.split()[1]) for line in text.splitlines()]


def ended(process: subprocess.Popen[str]) -> str:
    """What it said, once it has ended well."""
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return out + err


def test_eight_workers_two_killed_nothing_lost_nothing_twice_and_the_total_exact(
    shared: Config, url: str, tmp_path: Path, write: Write, start: Start
) -> None:
    record, run = tmp_path / "record.txt", tmp_path / "run"
    free, total = 11, 36
    # From the twelfth evaluation on all wait, so all eight are in the middle of one at some moment.
    shared["evaluator"] |= {"wait_from": free + 1}
    shared["trials"] = total
    processes = [start("launch", write(shared), "-o", str(run), "--workers", "1")]
    until(lambda: lines(record), LONG)
    processes += [start("worker", url, "--workers", "1") for _ in range(7)]
    until(lambda: len(lines(record)) == free + 8, LONG)
    before = lines(record)
    assert len({pid for pid, _ in before[free:]}) == 8
    victims = processes[3:5]
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    for victim in victims:
        victim.wait()
    until(lambda: len([t for t in trials_at(url) if t.state == TrialState.COMPLETE]) == free, LONG)
    finished = {t.number: (t.values, t.datetime_complete) for t in trials_at(url) if t.values}
    Path(f"{record}.go").touch()
    for process in processes:
        if process not in victims:
            ended(process)
    trials = trials_at(url)
    assert [t.number for t in trials] == list(range(total))
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    assert finished == {n: (trials[n].values, trials[n].datetime_complete) for n in finished}
    assert len({t.user_attrs["key"] for t in trials}) == total
    # Trained again is what the two held when they were killed, after that, and nothing else.
    after = [key for _, key in lines(record)[len(before) :]]
    again = Counter(key for _, key in lines(record))
    twice = {key for key, times in again.items() if times > 1}
    assert len(twice) == 2
    assert set(again.values()) == {1, 2}
    assert twice <= {key for _, key in before[free:]}
    assert twice <= set(after)
    assert len(lines(record)) == total + 2


def test_a_worker_that_froze_and_comes_back_finds_its_trial_taken_and_changes_nothing(
    shared: Config, url: str, tmp_path: Path, write: Write, start: Start
) -> None:
    record, run = tmp_path / "record.txt", tmp_path / "run"
    shared["evaluator"] |= {"wait_from": 1}
    launch = start("launch", write(shared), "-o", str(run), "--workers", "1")
    until(lambda: len(lines(record)) == 1, LONG)
    worker = start("worker", str(run), "--workers", "1")
    until(lambda: len(lines(record)) == 2, LONG)
    os.killpg(worker.pid, signal.SIGSTOP)
    try:
        Path(f"{record}.go").touch()
        ended(launch)
        trials = trials_at(url)
        assert Counter(t.state for t in trials) == {TrialState.COMPLETE: 6}
        assert len(lines(record)) == 7
        assert "adopted from a worker that fell silent" in (run / "log.txt").read_text()
    finally:
        os.killpg(worker.pid, signal.SIGCONT)
    assert "taken over by another worker" in ended(worker)
    assert [(t.state, t.values) for t in trials_at(url)] == [(t.state, t.values) for t in trials]


def test_asked_to_stop_a_worker_gives_its_trial_up_at_once(
    shared: Config, url: str, tmp_path: Path, write: Write, start: Start
) -> None:
    record, run = tmp_path / "record.txt", tmp_path / "run"
    shared["evaluator"] |= {"wait_from": 1}
    shared["storage"] |= {"grace": 3600}
    launch = start("launch", write(shared), "-o", str(run), "--workers", "1")
    until(lambda: len(lines(record)) == 1, LONG)
    worker = start("worker", url, "--workers", "1")
    until(lambda: len(lines(record)) == 2, LONG)
    worker.send_signal(signal.SIGTERM)
    assert "end: stopped" in ended(worker)
    Path(f"{record}.go").touch()
    ended(launch)
    assert Counter(t.state for t in trials_at(url)) == {TrialState.COMPLETE: 6}


def test_behind_the_proxy_workers_need_no_password(
    shared: Config,
    url: str,
    server: Server,
    tmp_path: Path,
    write: Write,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("grpc", reason="needs grpcio")
    record, run, port = tmp_path / "record.txt", tmp_path / "run", free_port()
    shared["evaluator"] |= {"wait_from": 1}
    shared["trials"] = 10
    launch = start("launch", write(shared), "-o", str(run), "--workers", "1")
    until(lambda: len(lines(record)) == 1, LONG)
    proxy = start("proxy", str(run), "--port", str(port))
    monkeypatch.delenv("PGPASSWORD")
    workers = [start("worker", f"grpc://127.0.0.1:{port}", "--workers", "1") for _ in range(2)]
    until(lambda: len(lines(record)) == 3, LONG)
    workers[0].send_signal(signal.SIGKILL)
    Path(f"{record}.go").touch()
    ended(workers[1])
    ended(launch)
    proxy.send_signal(signal.SIGINT)
    assert f"proxy: grpc://127.0.0.1:{port}" in ended(proxy)
    monkeypatch.setenv("PGPASSWORD", server.password)
    trials = trials_at(url)
    assert [t.number for t in trials] == list(range(10))
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    assert len({t.user_attrs["key"] for t in trials}) == 10
    assert len(lines(record)) == 11


def test_the_other_commands_read_the_database_and_the_password_is_nowhere(
    shared: Config,
    url: str,
    server: Server,
    tmp_path: Path,
    write: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    assert main(["launch", write(shared), "-o", str(run), "--workers", "1"]) == 0
    assert main(["launch", "-o", str(run), "--trials", "8"]) == 0
    assert main(["worker", url]) == 0
    capsys.readouterr()
    assert main(["status", str(run), "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    best = max(trials_at(url), key=lambda t: t.values[0])
    assert state["trials"] == {"complete": 8, "pruned": 0, "failed": 0, "running": 0}
    assert (state["wanted"], state["best"]["trial"]) == (8, best.number)
    assert (state["active"], state["nodes"]) == (False, [])
    assert main(["export", str(run), "-o", str(tmp_path / "best.yaml")]) == 0
    assert main(["report", str(run)]) == 0
    found = Architecture.load(tmp_path / "best.yaml")
    assert found.key == best.user_attrs["key"]
    assert Architecture.load(run / "best.yaml") == found
    assert sorted(p.name for p in run.iterdir() if not p.name.startswith(".")) == [
        "best.yaml",
        "config.yaml",
        "log.txt",
        "report.html",
    ]
    for path in run.iterdir():
        assert server.password not in path.read_text()


def test_the_strategy_that_ran_out_of_architectures_ends_the_search_for_all(
    shared: Config, url: str, tmp_path: Path, write: Write, start: Start
) -> None:
    shared["space"] = {**shared["space"], "stage": {"conv": ["vanilla", "hetconv"], "p": [2]}}
    shared |= {"budget": {}, "trials": 100}
    launch = start("launch", write(shared), "-o", str(tmp_path / "run"), "--workers", "2")
    until(lambda: lines(tmp_path / "record.txt"), LONG)
    worker = start("worker", url, "--workers", "2")
    ended(worker)
    assert "every architecture inside the budget has been tried" in ended(launch)
    trials = trials_at(url)
    assert len(trials) == 8  # 2 choices in each of 3 stages
    assert {t.state for t in trials} == {TrialState.COMPLETE}


def test_a_second_launch_and_another_experiment_of_that_name_are_refused(
    shared: Config,
    url: str,
    tmp_path: Path,
    write: Write,
    start: Start,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shared["evaluator"] |= {"wait_from": 1}
    launch = start("launch", write(shared), "-o", str(tmp_path / "run"), "--workers", "1")
    until(lambda: lines(tmp_path / "record.txt"), LONG)
    assert main(["launch", write(shared), "-o", str(tmp_path / "other")]) == 2
    assert "another launch is using its study 'small'" in capsys.readouterr().err
    Path(f"{tmp_path}/record.txt.go").touch()
    ended(launch)
    assert main(["launch", write({**shared, "seed": 5}), "-o", str(tmp_path / "third")]) == 2
    assert "seed: 5 is not allowed; this run has 0" in capsys.readouterr().err
    assert not (tmp_path / "third" / "config.yaml").exists()
    assert main(["worker", url, "--study", "smal"]) == 2
    assert "studies there: small" in capsys.readouterr().err
    assert main(["worker", url.rpartition("/")[0] + "/postgres"]) == 2
    assert "holds no study" in capsys.readouterr().err
    damage = "update trial_user_attributes set value_json = '7' where key = 'key'"
    storage = RDBStorage(url.replace("postgresql://", "postgresql+psycopg://"))
    with storage.engine.begin() as connection:
        assert connection.exec_driver_sql(damage).rowcount > 0
    storage.engine.dispose()
    for command in (["worker", url], ["launch", write(shared), "-o", str(tmp_path / "run")]):
        assert main([*command, "--workers", "1"]) == 2
        assert "trial 0 is damaged: its key is 7, not text" in capsys.readouterr().err


def test_the_dashboards_connection_cannot_write(shared: Config, url: str, write: Write) -> None:
    from convnas.experiments import plan
    from convnas.experiments.cluster.backend import ClusterBackend
    from convnas.experiments.run.postgres import Database
    from convnas.experiments.run.study import open_to_read, study_at
    from convnas.experiments.search.prepare import prepare

    run, config = plan(write(shared), Path(write("", "here.yaml")).parent / "run")
    run.create()
    with ClusterBackend().study(run, config, lambda kept: prepare(config)):
        database = Database.parse(url, "small")
        storage = open_to_read(database)
        study = study_at(storage, database)
        assert study.user_attrs == {"budget": {"flops": 1_000_000}}
        with pytest.raises(optuna.exceptions.StorageInternalError) as caught:
            study.set_user_attr("note", "mine")
        assert "read-only transaction" in str(caught.value.__cause__)
        storage.engine.dispose()
