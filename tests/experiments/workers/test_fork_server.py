"""What workers are forked from, and what becomes of a worker whose device is suspect."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from convnas.experiments.workers.events import Event, Scored
from convnas.experiments.workers.pool import WorkerPool
from convnas.search_space import Architecture, Choice

pytestmark = pytest.mark.usefixtures("cold")

ARCH = Architecture("resnet-cifar", (1, 8, 8), 10, (Choice("vanilla"),) * 3)

FORKED = """
import os, socket, sys, threading
from convnas.experiments.workers import fork_server

def report(*args):
    import torch
    threads = open("/proc/self/status").read().split("Threads:")[1].split()[0]
    print(threads, torch.cuda.is_initialized(), "torch._dynamo" in sys.modules, flush=True)
    os._exit(0)

ours, theirs = socket.socketpair()
fork_server.selectors.DefaultSelector = report  # made when all is imported, just before forking
fork_server.main(theirs.detach(), ["torch._dynamo"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_workers_are_forked_from_one_thread_without_a_gpu_s_context_with_optimizers_ready() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED],
        capture_output=True,
        text=True,
        check=True,
        env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PATH": ""},
    )
    assert done.stdout.split() == ["1", "False", "True"]


SUSPECT = """
from convnas.evaluators import Evaluation

class Suspect:
    suspect = True
    def evaluate(self, arch, *, seed, report):
        return Evaluation(0.5, {"seed": seed})

def make(*given, **where):
    return Suspect()
"""


def test_a_worker_whose_device_is_suspect_finishes_its_trial_and_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "suspicious.py").write_text(SUSPECT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    setup = {
        "evaluator": {"name": "python:suspicious:make"},
        "data": {"name": "digits"},
        "input": [1, 8, 8],
        "classes": 10,
        "device": "cpu",
        "seed": 0,
        "objectives": ["accuracy"],
    }
    with WorkerPool(1, setup, log=tmp_path / "log.txt") as pool:
        seen = []
        for trial in range(2):
            while not pool.idle:
                pool.wait(1.0)
            seen.append(pool.pids)
            pool.submit(trial, ARCH.to_dict(), seed=trial, verdicts=False)
            events: list[Event] = []
            while not events:
                events = pool.wait(1.0)
            assert events == [Scored(trial, 0.5, {"seed": trial}, (), False)]
    assert seen[0] != seen[1]
