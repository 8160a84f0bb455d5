"""Many evaluations that no strategy chooses: handed to workers in order, told as they end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ... import evaluators
from ...search_space import Architecture
from ..config.schema import ExperimentConfig
from ..run.objectives import measured
from ..workers.dispatch import Ending, Task, TaskSource, dispatch
from ..workers.events import Event, Failed, Reported, Scored
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
    return dispatch(_Jobs(jobs, done), pool, stopped) == "done"


class _Jobs(TaskSource):
    def __init__(self, jobs: Iterable[Job], done: Callable[[Job, Outcome], None]) -> None:
        self._waiting, self._done = enumerate(jobs), done
        # Number -> the job, and epoch -> its metrics.
        self._running: dict[int, tuple[Job, dict[int, Mapping[str, float]]]] = {}
        # How many jobs there are is known only once `next` has come to the end of the iterator.
        self._all_given = False

    def next(self) -> Task | None:
        number, job = next(self._waiting, (0, None))
        if job is None:
            self._all_given = True
            return None
        self._running[number] = (job, {})
        return Task(number, job.architecture, job.seed)

    def hear(self, event: Event) -> bool:
        job, epochs = self._running[event.trial]
        if isinstance(event, Reported):
            epochs[event.epoch] = event.metrics
        else:
            del self._running[event.trial]
            self._done(job, _outcome(event, epochs))
        return False

    def ending(self) -> Ending | None:
        return "done" if self._all_given and not self._running else None


def _outcome(event: Scored | Failed, epochs: Mapping[int, Mapping[str, float]]) -> Outcome:
    if isinstance(event, Failed):
        return Outcome(None, reason=event.reason)
    told = tuple(metrics for _, metrics in sorted(epochs.items()))
    return Outcome(event.score, event.metrics, told)


def setup_of(config: ExperimentConfig, example: Architecture, **changes: Any) -> dict[str, Any]:
    """What a pool's workers are told before their first evaluation; `changes` go over it."""
    return {
        "evaluator": config.evaluator,
        "objectives": measured(config.objectives),
        "data": config.data,
        "input": list(example.input),
        "classes": example.classes,
        "device": "cpu",
        "seed": config.seed,
        "plugins": config.plugins,
        **changes,
    }


def device_of(config: ExperimentConfig) -> str:
    """The device in use, as it is kept; "cuda" where there are several. Raises InputError."""
    found = evaluators.resolve_devices(config.device)
    return str(found[0]) if len(found) == 1 else "cuda"


def slots_of(config: ExperimentConfig, dearest: Architecture, *, trials: int) -> list[str]:
    """The device of each worker for a config's evaluations, of which `dearest` takes the most."""
    devices = [str(device) for device in evaluators.resolve_devices(config.device)]
    need = Need(
        evaluators.training_bytes(config.evaluator, dearest, devices[0]),
        evaluators.data_bytes(config.data, dearest.input),
    )
    return worker_slots(config.workers, trials=trials, devices=devices, need=need)
