"""Runs that end in the middle, in processes of their own, really killed."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from convnas.experiments.cli import main

Config = dict[str, Any]
Start = Callable[..., "subprocess.Popen[str]"]
Trials = Callable[[Path], list[FrozenTrial]]
Until = Callable[[Callable[[], object]], None]


def started(record: Path) -> list[str]:
    return record.read_text().splitlines() if record.exists() else []


def keys(record: Path) -> Counter[str]:
    return Counter(line.split()[1] for line in started(record))


def gone(pid: int) -> bool:
    """Whether the process has ended (a zombie has)."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


Launched = Callable[..., tuple["subprocess.Popen[str]", Path, Path]]


@pytest.fixture
def launched(
    scripted: Config, tmp_path: Path, write: Callable[..., str], start: Start, until: Until
) -> Launched:
    """A launch on two workers once so many evaluations have started: its process, run and record.

    seconds: of each evaluation.
    """

    def launched(
        evaluations: int, *more: str, seconds: float = 0.4
    ) -> tuple[subprocess.Popen[str], Path, Path]:
        scripted["evaluator"] |= {"seconds": seconds}
        run, record = tmp_path / "run", tmp_path / "record.txt"
        process = start("launch", write(scripted), "-o", str(run), "--workers", "2", *more)
        until(lambda: len(started(record)) >= evaluations)
        return process, run, record

    return launched


@pytest.mark.parametrize("victim", ["group", "parent"])
def test_killed_mid_trial_and_launched_again_nothing_is_lost_or_trained_twice(
    launched: Launched,
    trials_of: Trials,
    until: Until,
    victim: str,
) -> None:
    process, run, record = launched(5, "--trials", "8")
    pids = {int(line.split()[0]) for line in started(record)}
    (os.killpg if victim == "group" else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: all(map(gone, pids)))
    left = trials_of(run)
    finished = {t.number: t.value for t in left if t.state == TrialState.COMPLETE}
    running = [t for t in left if t.state == TrialState.RUNNING]
    assert finished
    assert running
    assert main(["launch", "-o", str(run)]) == 0
    trials = trials_of(run)
    assert [t.number for t in trials] == list(range(8))
    assert all(t.state == TrialState.COMPLETE for t in trials)
    assert finished == {number: trials[number].value for number in finished}
    assert [trials[t.number].params for t in running if len(t.params) == 3] == [
        t.params for t in running if len(t.params) == 3
    ]
    assert len({t.user_attrs["key"] for t in trials}) == 8
    # Trained a second time is only what the kill interrupted.
    again = {key for key, times in keys(record).items() if times > 1}
    assert again <= {trials[t.number].user_attrs["key"] for t in running}


def test_a_worker_killed_from_outside_costs_its_trial_and_is_replaced(
    launched: Launched,
    trials_of: Trials,
    capsys: pytest.CaptureFixture[str],
) -> None:
    process, run, record = launched(3, "--trials", "8")
    assert main(["status", str(run), "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    victim = int(started(record)[-1].split()[0])
    assert state["active"]
    assert victim in state["workers"]
    os.kill(victim, signal.SIGKILL)
    assert process.wait() == 0
    trials = trials_of(run)
    (failed,) = (t for t in trials if t.state == TrialState.FAIL)
    assert failed.user_attrs["reason"] == "worker was killed by signal 9 (out of memory?)"
    assert len(trials) == 8
    assert main(["status", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["workers"] == []


def test_where_workers_are_forked_from_may_be_killed_too(
    launched: Launched,
    trials_of: Trials,
) -> None:
    process, run, record = launched(4, "--trials", "8")
    worker = int(started(record)[-1].split()[0])
    status = Path(f"/proc/{worker}/status").read_text()
    (source,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid"))
    assert source != process.pid
    os.kill(source, signal.SIGKILL)
    assert process.wait() == 0
    trials = trials_of(run)
    assert len(trials) == 8
    failed = [t for t in trials if t.state == TrialState.FAIL]
    assert 1 <= len(failed) <= 2
    assert {t.user_attrs["reason"] for t in failed} == {
        "worker was killed by signal 9 (out of memory?)"
    }
    assert all(gone(int(line.split()[0])) for line in started(record))


def test_a_second_launch_is_refused_and_the_first_goes_on(
    launched: Launched,
    trials_of: Trials,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, run, _ = launched(1)
    assert main(["launch", "-o", str(run), "--trials", "50"]) == 2
    assert "another launch is using it" in capsys.readouterr().err
    assert first.wait() == 0
    assert len(trials_of(run)) == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_stops_cleanly_leaves_no_process_and_says_how_to_go_on(
    launched: Launched,
    trials_of: Trials,
    number: int,
) -> None:
    process, run, record = launched(4, seconds=1.0)
    # As the terminal's Ctrl-C, to the whole group; a termination request goes to the parent.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"to go on: convnas launch -o {run}" in out
    assert "Traceback" not in out + err
    assert all(gone(int(line.split()[0])) for line in started(record))
    assert {t.state for t in trials_of(run)} == {TrialState.COMPLETE, TrialState.RUNNING}
    assert main(["launch", "-o", str(run)]) == 0
    assert len(trials_of(run)) == 6
    assert all(t.state == TrialState.COMPLETE for t in trials_of(run))


def test_a_full_disk_is_one_line_and_the_study_stays_whole(
    run: Path, trials_of: Trials, start: Start
) -> None:
    # No file may grow past the study's size of now: the next pages do not fit.
    limit = (run / "study.db").stat().st_size
    process = start("launch", "-o", str(run), "--trials", "30")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    _, err = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "cannot be" in err.splitlines()[-1]
    assert main(["launch", "-o", str(run), "--trials", "30"]) == 0
    assert len({t.user_attrs["key"] for t in trials_of(run)}) == len(trials_of(run)) == 30
