"""What the pool does with a worker that takes too long, or has had enough."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from convnas.experiments.workers import pool as pools
from convnas.experiments.workers.channel import Channel
from convnas.experiments.workers.events import Failed, Scored
from convnas.experiments.workers.pool import WorkerPool
from convnas.search_space import Architecture, Choice
from convnas.tests.experiments.conftest import worker_setup

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
    return worker_setup({**scripted["evaluator"], "faults": {"hang": 1}})


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

        def heard() -> list[Any]:
            events.extend(pool.wait(0.5))
            return events

        until(heard, 20.0)
        reason = "took longer than trial_timeout, 36000 s, and was stopped"
        assert events == [Failed(7, reason)]


def test_a_worker_that_ended_with_the_wish_to_be_replaced_is_replaced_once(
    setup: dict[str, Any], tmp_path: Path
) -> None:
    """Its last words and its end can come in one look."""
    with WorkerPool(1, setup, log=tmp_path / "log.txt") as pool:
        while not pool.idle:
            assert pool.wait(1.0) == []
        (worker,) = pool._workers.values()
        mine, theirs = socket.socketpair()
        pool._selector.unregister(worker.channel)
        worker.channel.close()
        worker.channel, worker.trial = Channel(mine), 3
        pool._selector.register(worker.channel, selectors.EVENT_READ, worker)
        words = {"score": 0.5, "metrics": {}, "curve": [], "pruned": False, "retire": True}
        with closing(Channel(theirs)) as its:
            its.send("scored", **words)
        assert pool._ended(worker, 0) == [Scored(3, 0.5, {}, (), False)]
        assert len(pool._workers) == 1
        while not pool.idle:
            assert pool.wait(1.0) == []
