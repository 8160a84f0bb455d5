"""Does the proxy rank? A few architectures trained briefly and long, and the orders compared.

Every training goes to a journal, so a report that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import evaluators
from ...evaluators import ProxySettings
from ...evaluators.zero_cost import MEASURES
from ...search_space import Architecture, cost
from ...search_space.errors import InputError
from ...search_space.files import atomic_write
from ..config.schema import ExperimentConfig
from ..config.sections import ALONE
from ..errors import RunError
from ..machine import conditions
from ..search.jobs import Job, Outcome, run_jobs, setup_of, slots_of
from ..search.prepare import Prepared
from ..search.signals import StopRequest
from ..workers.pool import WorkerPool
from .fidelity_report import Level, markdown, picture, summary
from .tabulate import Journal, record_of

Done = Callable[[Job, Outcome], None]

_BRIEF = ("share", "resolution", "width", "seeds")
"""What makes a proxy cheap beside its epochs: the long trainings go without."""


@dataclass(frozen=True)
class Asked:
    """`count` architectures; `long` epochs (None: four times the config's); `seeds` of each."""

    count: int = 24
    long: int | None = None
    seeds: int = 2


def fidelity(
    prepared: Prepared, folder: Path, asked: Asked, tell: Callable[[str], None]
) -> dict[str, Any] | None:
    """Train, compare, and write fidelity.json, .md and .png into `folder`; None where stopped.

    Raises InputError, and RunError where workers cannot start or too few trainings succeed.
    """
    config, feasible = prepared.config, prepared.feasible
    levels = _levels(config, asked)
    if feasible.count < asked.count:
        allowed = f"the space has {feasible.count:,} architectures inside the budget"
        raise InputError("architectures", asked.count, allowed)
    chosen = _draw(feasible, asked.count, config.seed)
    header = {
        **config.model_dump(mode="json", include={"space", "budget", "data", "evaluator", "seed"}),
        **vars(asked),
    }
    journal = Journal(folder / "trainings.jsonl", header)
    journal.open()
    # No pool lasts for all levels, so none is woken: `dispatch` looks at least once a second.
    with StopRequest(lambda: None) as stop:
        for level in levels:
            evaluator = dict(level.evaluator)
            setting = config.model_copy(update={"evaluator": evaluator, "objectives": ALONE})
            jobs = list(_left(chosen, level, journal))
            tell(f"{level.name}: {len(jobs)} to do")
            if not jobs:
                continue

            def done(job: Job, outcome: Outcome, level: Level = level) -> None:
                journal.add(level.key(job.architecture), job.seed, record_of(outcome))

            evaluate = _in_workers if level.trains else _here
            if not evaluate(setting, jobs, done, stop, folder / "log.txt"):
                return None
    found = summary(levels, chosen, journal.records)
    if found is None:
        raise RunError(f"too few trainings succeeded to compare: see {folder / 'trainings.jsonl'}")
    made = {**conditions(config.device), "date": time.strftime("%Y-%m-%d")}
    found = {"name": config.name, **found, "conditions": made}
    atomic_write(folder / "fidelity.json", json.dumps(found, indent=1) + "\n")
    atomic_write(folder / "fidelity.md", markdown(found))
    if not picture(found, folder / "fidelity.png"):
        tell("no picture: matplotlib is not installed (pip install 'convnas[plot]')")
    return found


def _in_workers(
    setting: ExperimentConfig, jobs: list[Job], done: Done, stop: StopRequest, log: Path
) -> bool:
    dearest = max((job.architecture for job in jobs), key=lambda arch: cost(arch).backward_bytes)
    slots = slots_of(setting, dearest, trials=len(jobs))
    with WorkerPool(
        slots, setup_of(setting, dearest), log=log, timeout=setting.trial_timeout
    ) as pool:
        return run_jobs(jobs, pool, done, stopped=lambda: stop.asked)


def _here(
    setting: ExperimentConfig, jobs: list[Job], done: Done, stop: StopRequest, log: Path
) -> bool:
    """In this process: one mini-batch each is over before a worker has started."""
    first = jobs[0].architecture
    evaluator = evaluators.create(
        setting.evaluator,
        setting.data,
        input=first.input,
        classes=first.classes,
        device=str(evaluators.resolve_device(setting.device)),
        seed=setting.seed,
    )
    for job in jobs:
        if stop.asked:
            return False
        try:
            found = evaluator.evaluate(job.architecture, seed=job.seed)
        except evaluators.EvaluationError as e:
            done(job, Outcome(None, reason=str(e)))
        else:
            done(job, Outcome(found.score, found.metrics))
    return True


def _levels(config: ExperimentConfig, asked: Asked) -> list[Level]:
    """The long trainings, the config's own, each of those with half the epochs, and no training."""
    own = dict(config.evaluator)
    if own.get("name") != "proxy":
        allowed = "a fidelity report is about the evaluator proxy"
        raise InputError("evaluator.name", own.get("name"), allowed)
    epochs = int(own.get("epochs", ProxySettings().epochs))
    long = 4 * epochs if asked.long is None else asked.long
    if long <= epochs:
        raise InputError("long", long, f"it must be more than evaluator.epochs, {epochs}")
    whole = {name: value for name, value in own.items() if name not in _BRIEF}
    levels = [Level("long", {**whole, "epochs": long}, asked.seeds)]
    while epochs:
        levels.append(Level(f"epochs {epochs}", {**own, "epochs": epochs}, asked.seeds))
        epochs //= 2
    return levels + [Level(name, {"name": name}, 1) for name in (*MEASURES, "flops", "params")]


def _draw(feasible: Any, count: int, seed: int) -> list[Architecture]:
    rng = np.random.default_rng(seed)
    seen: dict[tuple[int, ...], None] = {}
    while len(seen) < count:
        row = feasible.sample_unseen(rng, seen)
        seen[row] = None
    return [feasible.point(row) for row in seen]


def _left(chosen: list[Architecture], level: Level, journal: Journal) -> Iterator[Job]:
    for seed in range(level.seeds):
        for arch in chosen:
            if (level.key(arch), seed) not in journal.records:
                yield Job(arch, seed)
