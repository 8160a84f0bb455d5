"""A worker that holds an evaluation too long, on a clock that the test moves."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from convnas.experiments.workers import pool as pools
from convnas.experiments.workers.events import Failed
from convnas.experiments.workers.pool import WorkerPool
from convnas.search_space import Architecture, Choice

ARCH = Architecture("resnet-cifar", (1, 8, 8), 10, (Choice("vanilla"),) * 3)


class Clock:
    """The true clock, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pools, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def setup(scripted: dict[str, Any]) -> dict[str, Any]:
    """The evaluator of `scripted.py`, whose first evaluation hangs."""
    return {
        "evaluator": {**scripted["evaluator"], "faults": {"hang": 1}},
        "data": {"name": "digits"},
        "input": [1, 8, 8],
        "classes": 10,
        "device": "cpu",
        "seed": 0,
    }


def test_an_evaluation_is_stopped_when_its_time_is_over_and_no_sooner(
    clock: Clock, setup: dict[str, Any], tmp_path: Path, until: Callable[..., None]
) -> None:
    # So many hours that the true clock's part in them is nothing.
    limit = 36_000.0
    with WorkerPool(1, setup, log=tmp_path / "log.txt", timeout=limit) as pool:
        while not pool.idle:
            assert pool.wait(1.0) == []
        pool.submit(7, ARCH.to_dict(), seed=0, verdicts=False)
        until((tmp_path / "record.txt").exists)
        clock.ahead = 0.9 * limit
        for _ in range(3):
            assert pool.wait(0.05) == []
        clock.ahead = 1.1 * limit
        events: list[Any] = []
        while not events and clock.ahead < 4 * limit:
            events = pool.wait(1.0)
            clock.ahead += 0.01 * limit
        reason = "took longer than trial_timeout, 36000 s, and was stopped"
        assert events == [Failed(7, reason)]
