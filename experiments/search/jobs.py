"""Many evaluations that no strategy chooses: handed to workers in order, told as they end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ... import evaluators
from ...search_space import Architecture
from ..config.schema import ExperimentConfig
from ..workers.events import Failed, Reported, Scored
from ..workers.pool import WorkerPool
from ..workers.resources import Need, worker_slots


@dataclass(frozen=True)
class Job:
    architecture: Architecture
    seed: int


@dataclass(frozen=True)
class Outcome:
    """`epochs`: the metrics reported after each. `score` is None where it failed, for `reason`."""

    score: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    epochs: tuple[Mapping[str, float], ...] = ()
    reason: str | None = None


def run_jobs(
    jobs: Iterable[Job],
    pool: WorkerPool,
    done: Callable[[Job, Outcome], None],
    *,
    stopped: Callable[[], bool] = lambda: False,
) -> bool:
    """Evaluate all of `jobs`; `done` hears each as it ends. False where `stopped` cut it short.

    Jobs are drawn one by one as workers come free, so there may be very many.
    """
    waiting = iter(jobs)
    running: dict[int, tuple[Job, dict[int, Mapping[str, float]]]] = {}
    number, exhausted = 0, False
    while not stopped():
        while pool.idle and not exhausted:
            job = next(waiting, None)
            if job is None:
                exhausted = True
                break
            pool.submit(number, job.architecture.to_dict(), seed=job.seed, verdicts=False)
            running[number] = (job, {})
            number += 1
        if exhausted and not running:
            return True
        for event in pool.wait(1.0):
            job, epochs = running[event.trial]
            if isinstance(event, Reported):
                epochs[event.epoch] = event.metrics
                continue
            del running[event.trial]
            done(job, _outcome(event, epochs))
    return False


def _outcome(event: Scored | Failed, epochs: Mapping[int, Mapping[str, float]]) -> Outcome:
    if isinstance(event, Failed):
        return Outcome(None, reason=event.reason)
    told = tuple(metrics for _, metrics in sorted(epochs.items()))
    return Outcome(event.score, event.metrics, told)


def setup_of(config: ExperimentConfig, example: Architecture, **changes: Any) -> dict[str, Any]:
    """What a pool's workers are told before their first evaluation; `changes` go over it."""
    return {
        "evaluator": config.evaluator,
        "data": config.data,
        "input": list(example.input),
        "classes": example.classes,
        "device": "cpu",
        "seed": config.seed,
        "plugins": config.plugins,
        **changes,
    }


def slots_of(config: ExperimentConfig, dearest: Architecture, *, trials: int) -> list[str]:
    """The device of each worker for a config's evaluations, of which `dearest` takes the most."""
    devices = [str(device) for device in evaluators.resolve_devices(config.device)]
    need = Need(
        evaluators.training_bytes(config.evaluator, dearest, devices[0]),
        evaluators.data_bytes(config.data, dearest.input),
    )
    return worker_slots(config.workers, trials=trials, devices=devices, need=need)
