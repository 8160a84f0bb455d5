"""Runs under NNI are the same runs: continued, exhausted, interrupted, ended with true reasons."""

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
from convnas.tests.experiments.conftest import HERE, SPACE, until
from convnas.tests.experiments.nni_backend import helpers

pytestmark = [pytest.mark.xdist_group("nni"), pytest.mark.usefixtures("cold", "_importable")]

Trials = Callable[[Path], list[FrozenTrial]]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "run"
    helpers.kill_all_of(tmp_path / "run")


def under_nni(run: Path, *argv: str) -> int:
    port = str(helpers.free_port())
    return main(["launch", "-o", str(run), "--backend", "nni", "--port", port, *argv])


def test_a_local_run_goes_on_under_nni_as_it_would_have_alone(
    run: Path, tmp_path: Path, trials_of: Trials
) -> None:
    """NNI's own TPE, one worker: the same proposals, numbers and scores as without NNI."""
    strategy = {"name": "nni-tpe", "n_startup_jobs": 2}
    config = str(helpers.scripted_config(tmp_path, strategy=strategy))
    alone = tmp_path / "alone"
    assert main(["launch", config, "-o", str(alone)]) == 0
    assert main(["launch", config, "-o", str(run), "--trials", "3"]) == 0
    assert under_nni(run, "--trials", "6") == 0
    one, other = ([(t.params, t.values) for t in trials_of(path)] for path in (alone, run))
    assert one == other
    shown = helpers.trials_in_database(run)
    assert set(shown) == set(range(6))
    for number, trial in enumerate(trials_of(run)):
        assert shown[number]["id"] == number
        assert shown[number]["events"][-1] == "SUCCEEDED"
        assert shown[number]["metrics"]["FINAL", 0] == (
            number,
            shown[number]["metrics"]["FINAL", 0][1],
        )
        assert shown[number]["metrics"]["FINAL", 0][1]["default"] == trial.values[0]
    assert helpers.processes_of(run) == []


def test_it_ends_when_the_set_is_exhausted_and_prunes_as_early_stopped(
    run: Path, tmp_path: Path, trials_of: Trials, capsys: pytest.CaptureFixture[str]
) -> None:
    config = helpers.scripted_config(
        tmp_path,
        space={**SPACE, "stage": {"conv": ["vanilla", "hetconv"], "p": [2]}},
        budget={},
        pruner={"name": "median", "startup_trials": 2, "warmup_epochs": 0},
    )
    assert under_nni(run, str(config), "--trials", "20") == 0
    assert "every architecture inside the budget has been tried" in capsys.readouterr().out
    trials = trials_of(run)
    assert len(trials) == 8
    shown = helpers.trials_in_database(run)
    pruned = [t.number for t in trials if t.state == TrialState.PRUNED]
    assert pruned
    assert pruned == [n for n, t in sorted(shown.items()) if t["events"][-1] == "EARLY_STOPPED"]
    assert under_nni(run, "--trials", "20") == 0
    assert len(trials_of(run)) == 8


def test_whatever_is_killed_no_finished_trial_is_lost_and_the_run_goes_on(
    run: Path, tmp_path: Path, trials_of: Trials
) -> None:
    """The manager, the tuner, then the launcher with -9; then Ctrl-C; then it is let end."""
    config = helpers.scripted_config(tmp_path, {"seconds": 0.3}, trials=100, workers=2)

    def finished() -> dict[int, Any]:
        if not (run / "study.db").exists():
            return {}
        return {t.number: t.values for t in trials_of(run) if t.state.is_finished()}

    def pid_of(words: str) -> int:
        return max(pid for pid, line in helpers.processes_of(run) if words in line)

    for victim, said in (
        ("nni_node/main.js", "NNI's manager ended: killed by signal 9"),
        ("-m nni --exp_params", "the tuner's process was killed"),
        ("launcher", None),
        ("Ctrl-C", ""),
    ):
        before = finished()
        process = helpers.launch(
            *(str(config), "-o", str(run), "--backend", "nni"),
            *("--port", str(helpers.free_port())),
        )
        try:
            until(lambda before=before: len(finished()) >= len(before) + 2, 180)
            if victim == "launcher":
                process.kill()
            elif victim == "Ctrl-C":
                process.send_signal(signal.SIGINT)
            else:
                os.kill(pid_of(victim), signal.SIGKILL)
            _, err = process.communicate(timeout=120)
        finally:
            process.kill()
        until(lambda: not helpers.processes_of(run), 30)
        after = finished()
        assert {number: after[number] for number in before} == before
        if said is not None:
            assert process.returncode == 1
            assert said in err
    total = len(trials_of(run)) + 1
    assert under_nni(run, str(config), "--trials", str(total)) == 0
    trials = trials_of(run)
    assert [t.state for t in trials] == [TrialState.COMPLETE] * total
    assert len({t.user_attrs["key"] for t in trials}) == total
    assert set(helpers.trials_in_database(run)) == set(range(total))


BRITTLE = """
import os
from convnas.strategies.random_and_grid import RandomStrategy

class Brittle(RandomStrategy):
    def wishes(self, study, trial, rng):
        if trial.number == 2 and os.environ.get("SDK_PROCESS") == "dispatcher":
            raise ZeroDivisionError("no third wish")
        return ()
"""


def test_an_exception_in_the_tuner_ends_the_run_with_the_true_reason(
    run: Path, tmp_path: Path, trials_of: Trials
) -> None:
    (tmp_path / "brittle.py").write_text(BRITTLE)
    config = helpers.scripted_config(tmp_path, strategy={"name": "brittle.Brittle"})
    process = helpers.launch(
        *(str(config), "-o", str(run), "--backend", "nni", "--port", str(helpers.free_port())),
        PYTHONPATH=os.pathsep.join([str(tmp_path), str(HERE), os.environ.get("PYTHONPATH", "")]),
    )
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "ZeroDivisionError: no third wish" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert len([t for t in trials_of(run) if t.state == TrialState.COMPLETE]) == 2
    assert helpers.processes_of(run) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "example.org", "::"])
def test_another_host_than_this_machine_is_refused_with_the_tunnel(
    run: Path, tmp_path: Path, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(helpers.scripted_config(tmp_path))
    assert under_nni(run, config, "--host", host) == 2
    err = capsys.readouterr().err
    assert f"host: '{host}'" in err
    assert "ssh -N -L" in err
    assert not run.exists()


def test_a_port_in_use_and_a_backend_that_is_none_are_refused(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(helpers.scripted_config(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["launch", config, "-o", str(run), "--backend", "nni", "--port", port]) == 2
        assert f"port: {port} is not allowed; choose a free one" in capsys.readouterr().err
    shutil.rmtree(run, ignore_errors=True)
    assert main(["launch", config, "-o", str(run), "--backend", "slurm"]) == 2
    assert "backend.name: 'slurm' is not allowed; choose from" in capsys.readouterr().err
