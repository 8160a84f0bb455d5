"""Small real experiments, in this process and as the installed command in another one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from convnas.experiments import launch, plan
from convnas.tests.experiments import warm

HERE = Path(__file__).parent
SCRIPTED = "python:scripted:Scripted"

SPACE = {
    "backbone": "resnet-cifar",
    "input": [1, 8, 8],
    "classes": 10,
    "stage": {"conv": ["vanilla", "octave", "hetconv"], "alpha": [0.25, 0.5], "p": [2, 4]},
}
"""5 choices in each of 3 stages: 125 architectures."""

Config = dict[str, Any]


def small(**changes: Any) -> Config:
    return {
        "name": "small",
        "space": SPACE,
        "budget": {"flops": "1M"},
        "evaluator": {"name": "proxy", "epochs": 1},
        "training": {"epochs": 2},
        "strategy": {"name": "random"},
        "final": {"top": 0},
        "trials": 6,
        "workers": 1,
        "device": "cpu",
        **changes,
    }


def worker_setup(evaluator: Config) -> Config:
    """What a pool's workers are told before their first evaluation."""
    return {
        "evaluator": evaluator,
        "objectives": ["accuracy"],
        "data": {"name": "digits"},
        "input": [1, 8, 8],
        "classes": 10,
        "device": "cpu",
        "seed": 0,
    }


@pytest.fixture(scope="session", autouse=True)
def _warmth() -> Iterator[None]:
    with warm.warmth():
        yield


@pytest.fixture(scope="module")
def cold() -> Iterator[None]:
    """Fork servers and commands start as ever, in a whole module."""
    warm.Popen.cold = True
    yield
    warm.Popen.cold = False


@pytest.fixture
def config() -> Config:
    return small()


@contextmanager
def _path_to_scripted() -> Iterator[None]:
    """`scripted.py` can be imported, here and in workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
        patch.syspath_prepend(str(HERE))
        yield


@pytest.fixture(scope="module")
def _importable() -> Iterator[None]:
    with _path_to_scripted():
        yield


@pytest.fixture
def scripted(_importable: None, tmp_path: Path) -> Config:
    """The small experiment; `scripted.py`, its evaluator, writes down what it is asked."""
    return small(evaluator={"name": SCRIPTED, "record": str(tmp_path / "record.txt")})


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    evaluator = {"name": SCRIPTED, "record": str(folder / "record.txt")}
    with _path_to_scripted():
        launch(*plan(small(evaluator=evaluator), folder / "run"))
    return folder / "run"


@pytest.fixture(scope="module")
def finished(_importable: None, _finished: Path) -> Path:
    """A finished run of the scripted experiment, shared: copy it before changing it."""
    return _finished


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A finished run of one's own."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(config: object, name: str = "config.yaml") -> str:
        path = tmp_path / name
        path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
        return str(path)

    return write


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command in a process group of its own; what is left of it is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(*argv: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from convnas.experiments.cli import entry_point; entry_point()",
                *argv,
            ],
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, 9)
        process.communicate()


def printed_address(process: subprocess.Popen[str]) -> str:
    """The address of the pages of a command that has just started, from what it prints."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if line.startswith("dashboard: "):
            return line.split()[1]
    raise AssertionError(f"it ended: {said}")


def trials_of(run: Path) -> list[optuna.trial.FrozenTrial]:
    """The trials as Optuna itself reads them."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{run / 'study.db'}")
    try:
        (summary,) = optuna.get_all_study_summaries(storage)
        return optuna.load_study(study_name=summary.study_name, storage=storage).trials
    finally:
        storage.engine.dispose()


@pytest.fixture(name="trials_of")
def _trials_of() -> Callable[[Path], list[optuna.trial.FrozenTrial]]:
    return trials_of


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


@pytest.fixture(name="until")
def _until() -> Callable[..., None]:
    return until
