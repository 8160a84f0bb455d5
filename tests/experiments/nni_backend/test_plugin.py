"""NNI started by its user (nnictl create, or from Python) with our tuner and trial script in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import FrozenTrial, TrialState

from convnas.experiments.cli import main
from convnas.tests.experiments.conftest import HERE, SPACE, until
from convnas.tests.experiments.nni_backend import helpers

pytestmark = [pytest.mark.xdist_group("nni-2"), pytest.mark.usefixtures("cold", "_importable")]

Trials = Callable[[Path], list[FrozenTrial]]
LOOPBACK = f"--require {Path(__file__).with_name('loopback.js')}"
SKEW = """
case "$NNI_TRIAL_SEQ_ID" in
    0) sleep 2 ;;
    2) exit 7 ;;
esac
"""
"""Read by the shell of every trial: 0 asks after 1, and 2 dies before it asks."""


@dataclass
class Shell:
    """A user's shell, with a home of its own."""

    folder: Path
    environment: dict[str, str]
    port: int

    @property
    def web(self) -> helpers.Web:
        return helpers.Web(self.port)

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "small"

    def nnictl(self, *argv: str) -> str:
        command = [str(Path(sys.executable).with_name("nnictl")), *argv]
        return self.do(command)

    def do(self, command: list[str]) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def edit(self, **changes: Any) -> None:
        """Change nni.yml as its user would."""
        path = self.folder / "nni.yml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))

    def manager(self) -> int:
        (pid,) = [p for p, line in helpers.processes_of(self.folder) if "nni_node/main.js" in line]
        return pid


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    home = tmp_path / "home"
    home.mkdir()
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    own = {"HOME": str(home), "NNI_CONFIG_DIR": str(home / "nni"), "PYTHONPATH": path}
    yield Shell(tmp_path, {**os.environ, **own}, helpers.free_port())
    helpers.kill_all_of(tmp_path)


def test_nnictl_create_trains_what_its_pages_say_and_keeps_the_study(
    shell: Shell, trials_of: Trials, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the guard, which would give trials their own parameters: the trial's side must."""
    config = helpers.scripted_config(shell.folder, {"faults": {"refuse": 3}}, trials=5, workers=2)
    assert main(["nni", "init", str(config)]) == 0
    (shell.folder / "skew.sh").write_text(SKEW)
    shell.environment |= {"NODE_OPTIONS": LOOPBACK, "BASH_ENV": str(shell.folder / "skew.sh")}
    shell.nnictl("algo", "register", "--meta", "tuner.yml")
    shell.edit(tuner={"name": "convnas", "classArgs": {"config": str(config)}})
    shell.nnictl("create", "--config", "nni.yml", "--port", str(shell.port))
    until(lambda: shell.web.status() == "DONE", 300)

    trials = trials_of(shell.run)
    assert [trial.number for trial in trials] == list(range(5))
    failed = {t.number: t.user_attrs["reason"] for t in trials if t.state == TrialState.FAIL}
    assert failed.pop(2) == "its NNI trial failed; its stderr, in NNI's pages, may say why"
    assert list(failed.values()) == ["EvaluationError: no score today"]
    jobs = {job["sequenceId"]: job for job in shell.web.get("trial-jobs")}
    assert set(jobs) == set(range(5))
    for trial in trials:
        record = json.loads(jobs[trial.number]["hyperParameters"][0])
        assert record["parameter_id"] == trial.number
        assert record["parameters"] == helpers.spread(trial.user_attrs, record["parameters"])
        if trial.state == TrialState.COMPLETE:
            assert trial.values[0] == int(trial.user_attrs["key"], 16) / 16**16
            (final,) = jobs[trial.number]["finalMetricData"]
            told = json.loads(json.loads(final["data"]))
            assert told["default"] == trial.values[0]
            assert told["flops"] == trial.user_attrs["flops"]
            assert list(trial.intermediate_values.values()) == trial.user_attrs["curve"]
    assert "without convnas's guard" in (shell.run / "log.txt").read_text()

    shell.nnictl("stop", "--all")
    until(lambda: not helpers.processes_of(shell.folder), 60)
    capsys.readouterr()
    assert main(["status", str(shell.run), "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert state["trials"] == {"complete": 3, "pruned": 0, "failed": 2, "running": 0}
    assert state["wanted"] == 5


STARTED_FROM_PYTHON = """
import sys
from nni.experiment import CustomAlgorithmConfig, Experiment, ExperimentConfig, RunMode

config = ExperimentConfig.load("nni.yml")
config.tuner = CustomAlgorithmConfig(
    code_directory=".",
    class_name="convnas.experiments.nni_backend.tuner.Tuner",
    class_args={"config": sys.argv[1]},
)
Experiment(config).start(int(sys.argv[2]), run_mode=RunMode.Detach)
"""


def test_a_guarded_one_outlives_kill_minus_9_and_ends_when_the_set_is_exhausted(
    shell: Shell, trials_of: Trials, capsys: pytest.CaptureFixture[str]
) -> None:
    config = helpers.scripted_config(
        shell.folder,
        {"seconds": 0.1, "wait_from": 5},
        space={**SPACE, "stage": {"conv": ["vanilla", "hetconv"], "p": [2]}},
        budget={},
        pruner={"name": "median", "startup_trials": 2, "warmup_epochs": 0},
        trials=20,
        workers=2,
    )
    assert main(["nni", "init", str(config)]) == 0
    capsys.readouterr()
    assert main(["nni", "guard"]) == 0
    lines, said = capsys.readouterr()
    after = shell.do(["/bin/bash", "-c", f"{lines}\nenv -0"])
    shell.environment = dict(each.split("=", 1) for each in after.split("\0") if each)
    address = said.split()[-1].replace("8080", "{}")
    script = [sys.executable, "-c", STARTED_FROM_PYTHON, str(config), str(shell.port)]
    shell.do(script)
    web = helpers.Web(shell.port)
    web.log_in(address.format(shell.port))

    def waiting() -> bool:
        record = shell.folder / "record.txt"
        return record.exists() and len(record.read_text().splitlines()) >= 6

    until(waiting, 300)
    assert web.ask("GET", "/oview", headers={"Host": "example.org"}) == 403
    assert web.ask("PUT", "/api/v1/nni/experiment?update_type=SEARCH_SPACE", {}) == 403
    identity = str(web.get("experiment")["id"])
    before = {t.number: t.values for t in trials_of(shell.run) if t.state.is_finished()}
    assert len(before) >= 3
    os.kill(shell.manager(), signal.SIGKILL)
    (shell.folder / "record.txt.go").touch()
    until(lambda: not helpers.processes_of(shell.folder), 60)

    shell.port = helpers.free_port()
    shell.nnictl("resume", identity, "--port", str(shell.port))
    web = helpers.Web(shell.port)
    web.log_in(address.format(shell.port))
    until(lambda: web.status() == "DONE", 300)
    trials = trials_of(shell.run)
    assert len(trials) == 8
    assert {t.state for t in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert {number: trials[number].values for number in before} == before
    jobs = {job["sequenceId"]: job for job in web.get("trial-jobs")}
    assert set(jobs) == set(range(8))
    stopped = [number for number, job in jobs.items() if job["status"] == "EARLY_STOPPED"]
    assert sorted(stopped) == [t.number for t in trials if t.state == TrialState.PRUNED]
    shell.nnictl("stop", "--all")
    until(lambda: not helpers.processes_of(shell.folder), 60)


def test_the_trial_script_can_be_tried_by_hand(shell: Shell) -> None:
    config = helpers.scripted_config(shell.folder)
    assert main(["nni", "init", str(config)]) == 0
    said = shell.do([sys.executable, "trial.py"])
    assert "epoch 2: " in said
    assert "score: " in said
    assert not shell.run.exists()


def test_init_overwrites_nothing_and_needs_a_config_that_is_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = helpers.scripted_config(tmp_path)
    assert main(["nni", "init", str(config), "-o", str(tmp_path / "there")]) == 0
    assert (tmp_path / "there" / "mine.yaml").read_text() == config.read_text()
    assert main(["nni", "init", str(config), "-o", str(tmp_path / "there")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["nni", "init", str(tmp_path / "none.yaml")]) == 2
