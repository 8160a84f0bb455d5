"""Where workers go, on machines that are described; and what happens when memory runs out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from convnas.evaluators import data_bytes, training_bytes
from convnas.experiments import launch, plan
from convnas.experiments.workers import resources
from convnas.experiments.workers.resources import Need, spread, worker_slots
from convnas.search_space import Architecture, Choice, cost

Config = dict[str, Any]
GIB = 2**30


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def describe(cores: int = 8, memory: int = 64 * GIB, gpus: tuple[int, ...] = ()) -> None:
        monkeypatch.setattr(resources, "_cores", lambda: cores)
        monkeypatch.setattr(resources, "_free_memory", lambda: memory)
        monkeypatch.setattr(resources, "gpu_memory", lambda devices: list(gpus))

    return describe


def slots(setting: int | str, devices: list[str], trials: int = 100, **need: int) -> list[str]:
    return worker_slots(setting, trials=trials, devices=devices, need=Need(**need))


def test_on_a_cpu_there_is_one_worker_a_core_as_memory_allows(machine: Callable[..., None]) -> None:
    machine(cores=8)
    assert slots("auto", ["cpu"]) == ["cpu"] * 8
    assert slots("auto", ["cpu"], trials=3) == ["cpu"] * 3
    assert slots("auto", ["cpu"], training=30 * GIB) == ["cpu"] * 2
    assert slots("auto", ["cpu"], data=7 * GIB) == ["cpu"] * 2
    assert slots("auto", ["cpu"], training=900 * GIB) == ["cpu"]
    assert slots(5, ["cpu"], training=900 * GIB) == ["cpu"] * 5


def test_gpus_take_workers_in_turn_each_as_many_as_its_free_memory_holds(
    machine: Callable[..., None],
) -> None:
    machine(cores=16, gpus=(24 * GIB, 9 * GIB))
    two = ["cuda:0", "cuda:1"]
    assert slots("auto", two, training=7 * GIB) == ["cuda:0", "cuda:1", "cuda:0", "cuda:0"]
    assert slots("auto", two, training=40 * GIB) == ["cuda:0"]
    assert len(slots("auto", two)) == 8  # four on each, and no more
    machine(cores=3, gpus=(24 * GIB, 24 * GIB))
    assert slots("auto", two) == ["cuda:0", "cuda:1", "cuda:0"]
    assert slots(5, two) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    machine(cores=16, memory=4 * GIB, gpus=(24 * GIB, 24 * GIB))
    assert len(slots("auto", two)) == 4  # main memory


def test_a_full_gpu_gets_no_worker_while_another_has_room() -> None:
    assert spread(["cuda:0", "cuda:1"], [0, 2], 8) == ["cuda:1", "cuda:1"]
    assert spread(["cuda:0", "cuda:1"], [0, 0], 8) == ["cuda:0"]


def test_what_a_training_needs_grows_with_its_batch_and_network() -> None:
    small = Architecture("resnet-cifar", (1, 8, 8), 10, (Choice("vanilla"),) * 3)
    large = Architecture("resnet-cifar", (1, 32, 32), 10, (Choice("vanilla"),) * 3)
    needed = training_bytes({"name": "proxy", "batch_size": 64}, large)
    assert needed > 64 * cost(large).backward_bytes
    assert needed > 10 * training_bytes({"name": "proxy", "batch_size": 64}, small)
    assert training_bytes({"name": "tabular"}, large) == 0
    # In bfloat16 a map takes half: beside the maps there are the images and the weights, both few.
    half = training_bytes({"name": "proxy", "batch_size": 64}, large, "cuda")
    assert 0.5 < half / needed < 0.52
    assert training_bytes({"name": "proxy", "bf16": False}, large, "cuda") == needed
    assert training_bytes({"name": "proxy", "bf16": "always"}, large) == half
    assert data_bytes({"name": "fashion-mnist"}, (1, 28, 28)) == 70_000 * 784
    assert data_bytes({"name": "npz", "path": "/nowhere"}, (1, 28, 28)) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the limit and /proc are Linux's")
def test_trials_that_exhaust_the_memory_fail_with_the_reason_and_the_others_complete(
    config: Config,
    tmp_path: Path,
    trials_of: Callable[[Path], list[FrozenTrial]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    # What is freed goes back at once: one trial leaves nothing to the next.
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    deep, flat = {"conv": ["vanilla"], "depth": [1, 60]}, {"conv": ["vanilla", "hetconv"], "p": [2]}
    space = {name: value for name, value in config["space"].items() if name != "stage"}
    config["space"] = {**space, "stages": [deep, flat, {"conv": ["vanilla"]}]}
    config["budget"], config["workers"] = {}, 1

    def kept(depth: int) -> int:
        """MiB that a batch of 269 keeps for its backward pass."""
        stages = (Choice("vanilla", depth=depth), Choice("vanilla"), Choice("vanilla"))
        arch = Architecture("resnet-cifar", (1, 8, 8), 10, stages)
        return 269 * cost(arch).backward_bytes // 2**20

    # A network with one block there fits whole, one with 60 not even in quarters.
    limit = kept(1) + 100
    assert limit < kept(60) // 5, (limit, kept(60))
    config["evaluator"] = {
        "name": "python:limited:limited",
        "mebibytes": limit,
        "epochs": 1,
        "batch_size": 512,
        "share": 0.5,
    }
    run = tmp_path / "run"
    launch(*plan({**config, "final": {"top": 0}}, run, trials=4))
    states: dict[Any, list[TrialState]] = {1: [], 60: []}
    for trial in trials_of(run):
        states[trial.params["stage1.depth"]].append(trial.state)
        if trial.state == TrialState.FAIL:
            assert "out of memory" in trial.user_attrs["reason"]
            assert "in pieces of 68 examples" in trial.user_attrs["reason"]
    assert states == {1: [TrialState.COMPLETE] * 2, 60: [TrialState.FAIL] * 2}
