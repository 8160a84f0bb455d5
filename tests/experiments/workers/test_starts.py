"""Workers and their fork server that are killed, or go wrong, before they are ready."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convnas.experiments import launch, plan
from convnas.experiments.errors import RunError
from convnas.experiments.workers.events import Scored
from convnas.experiments.workers.pool import WorkerPool
from convnas.search_space import Architecture, Choice
from convnas.tests.experiments.conftest import worker_setup

ARCH = Architecture("resnet-cifar", (1, 8, 8), 10, (Choice("vanilla"),) * 3)

UNSTEADY = """
import os, signal
from pathlib import Path
from convnas.evaluators import Evaluation

class Steady:
    def evaluate(self, arch, *, seed, report):
        return Evaluation(0.5, {})

def make(settings, data, **where):
    count = Path(settings["count"])
    with count.open("a") as file:
        file.write("x")
    if len(count.read_text()) <= settings["bad"]:
        if settings["how"] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if settings["how"] == "server killed":
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()
        if settings["how"] == "memory":
            raise MemoryError("9 TiB")
        raise SystemExit(3)
    return Steady()
"""


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    (tmp_path / "unsteady.py").write_text(UNSTEADY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.syspath_prepend(tmp_path)

    def setup(how: str, bad: int) -> dict[str, Any]:
        settings = {"how": how, "bad": bad, "count": str(tmp_path / "count")}
        return worker_setup({"name": "python:unsteady:make", **settings})

    return setup


def until_idle(pool: WorkerPool) -> None:
    while not pool.idle:
        assert pool.wait(1.0) == []


@pytest.mark.parametrize("how", ["killed", "server killed"])
def test_what_is_killed_during_its_start_is_replaced(tmp_path: Path, setup: Any, how: str) -> None:
    with WorkerPool(1, setup(how, 2), log=tmp_path / "log.txt") as pool:
        until_idle(pool)
        pool.submit(0, ARCH.to_dict(), seed=0, verdicts=False)
        while not (events := pool.wait(1.0)):
            pass
        assert events == [Scored(0, 0.5, {}, (), False)]
    assert (tmp_path / "count").read_text() == "xxx"


@pytest.mark.parametrize(
    ("how", "words", "starts"),
    [
        ("killed", "worker was killed by signal 9", 4),
        ("ended", "worker ended with exit status 1", 1),
        ("memory", "MemoryError: 9 TiB", 1),
    ],
)
def test_a_start_that_cannot_succeed_is_given_up_with_its_reason(
    tmp_path: Path, setup: Any, how: str, words: str, starts: int
) -> None:
    pool = WorkerPool(1, setup(how, 10**6), log=tmp_path / "log.txt")
    with pool, pytest.raises(RunError, match=f"workers do not start: {words}"):
        until_idle(pool)
    assert len((tmp_path / "count").read_text()) == starts


def test_a_launch_goes_on_when_a_starting_worker_is_killed(
    tmp_path: Path, setup: Any, config: dict[str, Any]
) -> None:
    evaluator = setup("killed", 1)["evaluator"]
    launched = launch(*plan({**config, "evaluator": evaluator, "trials": 2}, tmp_path / "run"))
    assert launched.ending == "done"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux counts addresses this way")
@pytest.mark.parametrize("command", [["space"], ["launch", "-o", "run"]])
def test_too_few_addresses_are_one_line(
    tmp_path: Path, write: Any, config: Any, command: list[str]
) -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (400 * 2**20,) * 2);"
        "from convnas.experiments.cli import entry_point; entry_point()"
    )
    argv = [sys.executable, "-c", code, command[0], write(config), *command[1:]]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "ulimit -v allows 400 MiB" in line
    assert not (tmp_path / "run").exists()
