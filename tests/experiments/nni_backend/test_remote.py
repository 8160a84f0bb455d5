"""Trials on another machine: a real sshd, NNI's remote service, nothing open but ssh."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from convnas.experiments.cli import main
from convnas.tests.experiments.conftest import HERE, until
from convnas.tests.experiments.nni_backend import helpers
from convnas.tests.experiments.nni_backend.sshd import Sshd, sshd_program

pytestmark = [
    pytest.mark.xdist_group("nni-2"),
    pytest.mark.usefixtures("cold"),
    pytest.mark.usefixtures("_importable"),
    pytest.mark.skipif(sshd_program() is None, reason="needs sshd (apt package openssh-server)"),
]

Trials = Callable[[Path], list[FrozenTrial]]


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    (tmp_path / "ssh").mkdir()
    with Sshd(tmp_path / "ssh", path) as one:
        yield one
    helpers.kill_all_of(tmp_path)


def remote_config(folder: Path, machine: dict[str, Any], **changes: Any) -> str:
    backend = {"name": "nni", "port": helpers.free_port(), "machines": [machine]}
    evaluator = changes.pop("evaluator", {})
    return str(helpers.scripted_config(folder, evaluator, backend=backend, **changes))


def listening(folder: Path) -> set[str]:
    """The addresses at which a process that names `folder` listens for TCP."""
    found = set()
    inodes = set()
    for pid, _ in helpers.processes_of(folder):
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = os.readlink(link)
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1].partition(":")[0])
    return found


LOOPBACK = socket.inet_aton("127.0.0.1")[::-1].hex().upper()


def test_a_search_runs_on_the_machine_and_goes_on_where_it_was_killed(
    sshd: Sshd, tmp_path: Path, trials_of: Trials
) -> None:
    config = remote_config(
        tmp_path,
        {**sshd.machine, "workers": 2},
        evaluator={"faults": {"refuse": 2}, "wait_from": 4},
        pruner={"name": "median", "startup_trials": 1, "warmup_epochs": 0},
        trials=7,
        seed=37,  # trials 3 to 6 score less than 0, 1 and 2
    )
    run, record = tmp_path / "run", tmp_path / "record.txt"
    process = helpers.launch(config, "-o", str(run))

    def waiting_and_pruned() -> bool:
        if not record.exists() or len(record.read_text().splitlines()) < 5:
            return False
        return TrialState.PRUNED in {t.state for t in trials_of(run)}

    until(lambda: process.poll() is not None or waiting_and_pruned(), 300)
    assert process.poll() is None, process.communicate()
    assert listening(tmp_path) == {LOOPBACK}
    before = [(t.number, t.state, t.values) for t in trials_of(run) if t.state.is_finished()]
    assert len(before) >= 2
    process.send_signal(signal.SIGKILL)
    process.communicate()

    def left() -> list[tuple[int, str]]:
        return [each for each in helpers.processes_of(tmp_path) if "sshd" not in each[1]]

    until(lambda: not left(), 90)
    Path(f"{record}.go").touch()

    process = helpers.launch("-o", str(run))
    _, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    trials = trials_of(run)
    assert len(trials) == 7
    after = [(t.number, t.state, t.values) for t in trials]
    assert [each for each in after if each in before] == before
    (refused,) = [t for t in trials if t.state == TrialState.FAIL]
    assert refused.user_attrs["reason"] == "no score today"
    shown = helpers.trials_in_database(run)
    assert set(shown) == set(range(7))
    for trial in trials:
        assert shown[trial.number]["parameters"] == helpers.spread(
            trial.user_attrs, shown[trial.number]["parameters"]
        )
        if trial.state == TrialState.COMPLETE:
            assert trial.values[0] == int(trial.user_attrs["key"], 16) / 16**16
            assert len(trial.intermediate_values) == 2
    pruned = {t.number for t in trials if t.state == TrialState.PRUNED}
    assert pruned
    # Launched again, one may end of itself at the moment it is stopped: complete in the study.
    assert pruned <= {n for n, t in shown.items() if t["events"][-1] == "EARLY_STOPPED"}
    until(lambda: not left(), 60)
    assert list(sshd.home.glob("nni-experiments/*"))


def test_a_machine_that_is_lost_ends_the_run_with_the_reason(
    sshd: Sshd, tmp_path: Path, trials_of: Trials
) -> None:
    config = remote_config(tmp_path, sshd.machine, evaluator={"wait_from": 2}, trials=3)
    run, record = tmp_path / "run", tmp_path / "record.txt"
    process = helpers.launch(config, "-o", str(run))
    until(
        lambda: (
            process.poll() is not None
            or (record.exists() and len(record.read_text().splitlines()) >= 2)
        ),
        300,
    )
    sshd.cut()
    _, err = process.communicate(timeout=200)
    assert process.returncode == 1
    assert err.splitlines()[-1].endswith("@127.0.0.1: the connection was lost")
    assert "Traceback" not in err
    assert trials_of(run)[0].state == TrialState.COMPLETE
    until(lambda: not helpers.processes_of(tmp_path), 90)


def test_a_machine_that_cannot_be_used_is_named_with_the_reason(
    sshd: Sshd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine, run = sshd.machine, tmp_path / "run"

    def refused(**changes: Any) -> str:
        shutil.rmtree(run, ignore_errors=True)
        config = remote_config(tmp_path, {**machine, **changes})
        status = main(["launch", config, "-o", str(run)])
        err = capsys.readouterr().err.splitlines()
        return f"{status}: {err[-1]}"

    assert refused(key_file="/nowhere").startswith("2: convnas: backend.machines.0.key_file")
    (tmp_path / "empty").touch()
    said = refused(known_hosts=str(tmp_path / "empty"))
    assert said.startswith("2: convnas: backend.machines.0.host: '127.0.0.1' is not allowed")
    assert f"ssh -p {sshd.port}" in said
    assert not run.exists()
    other = (sshd.folder / "key.pub").read_text()
    (tmp_path / "other").write_text(f"[127.0.0.1]:{sshd.port} {other}")
    said = refused(known_hosts=str(tmp_path / "other"))
    assert said.startswith("1: convnas: NNI cannot use a machine: ")
    assert said.endswith("@127.0.0.1: its host key is not the one in known_hosts")
    said = refused(key_file=str(sshd.folder / "host_key"))
    assert "All configured authentication methods failed" in said
    assert helpers.processes_of(run) == []


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"python": "python3"}, "backend.machines.0.python"),
        ({"host": "-oProxyCommand=id"}, "backend.machines.0.host"),
        ({"workers": 0}, "backend.machines.0.workers"),
        ({"passwort": "x"}, "backend.machines.0.passwort"),
    ],
)
def test_machines_are_checked(
    tmp_path: Path, changes: dict[str, Any], key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = {"host": "gpu1", "user": "me", "python": "/opt/venv/bin/python", **changes}
    assert main(["launch", remote_config(tmp_path, machine), "-o", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.startswith(f"convnas: {key}: ")
