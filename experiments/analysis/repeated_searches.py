"""Several strategies on one experiment, many times over: run, with every training done once.

Each strategy searches `repeats` times; repeat r has seed `seed + r` for the strategy and for the
training, so that repeats are pairs across strategies. An architecture that two searches try with
one seed is trained once. What was trained is kept in the folder as it comes, so a comparison that
was stopped goes on where it was.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from ... import strategies
from ...search_space import Architecture, FeasibleSet
from ...search_space.errors import InputError
from ..config.schema import ExperimentConfig
from ..errors import RunError
from ..search.prepare import Prepared
from ..workers.events import Failed, Scored
from ..workers.pool import WorkerPool

BASELINE = "random"
"""Uniform over the budget: always among the compared."""


@dataclass(frozen=True)
class Reading:
    """One training: its score (None where it failed) and its seconds."""

    score: float | None
    seconds: float


class Readings:
    """Trainings by architecture and seed, kept in a file, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[str, int], Reading] = {}
        if path.exists():
            text = path.read_text()
            whole = text[: text.rfind("\n") + 1]
            if whole != text:  # a run was killed while it wrote
                path.write_text(whole)
            for line in whole.splitlines():
                one = json.loads(line)
                self._known[one["key"], one["seed"]] = Reading(one["score"], one["seconds"])

    def get(self, key: str, seed: int) -> Reading | None:
        return self._known.get((key, seed))

    def keep(self, key: str, seed: int, reading: Reading) -> None:
        self._known[key, seed] = reading
        line = {"key": key, "seed": seed, "score": reading.score, "seconds": reading.seconds}
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


@dataclass(eq=False)
class Run:
    """One search by one strategy. `readings`, and what they are of, in the order of trainings."""

    strategy: str
    seed: int
    study: optuna.Study
    readings: list[Reading] = field(default_factory=list)
    tried: list[Architecture] = field(default_factory=list)
    exhausted: bool = False
    asked: tuple[Trial, Architecture] | None = None

    def ask(self, feasible: FeasibleSet[Architecture]) -> Architecture | None:
        """The next architecture; None where every one has been tried. RunError where it fails."""
        try:
            trial = self.study.ask()
        except strategies.Exhausted:
            self.exhausted = True
            return None
        except strategies.StrategyFailed as e:
            raise RunError(str(e)) from e
        self.asked = trial, feasible.suggest(trial)
        return self.asked[1]

    def tell(self, reading: Reading) -> None:
        assert self.asked is not None
        (trial, architecture), self.asked = self.asked, None
        self.readings.append(reading)
        self.tried.append(architecture)
        if reading.score is None:
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, reading.score)


def names_and_settings(config: ExperimentConfig, names: list[str]) -> dict[str, Mapping[str, Any]]:
    """Strategy -> its settings: the config's for its own strategy. Raises InputError."""
    own = config.strategy
    for name in names:
        strategies.settings_of(name)  # says what is known, and what is not installed
    chosen = dict.fromkeys([*names, BASELINE])
    return {name: own.settings if name == own.name else {} for name in chosen}


def compared(
    prepared: Prepared,
    names: list[str],
    repeats: int,
    pool: WorkerPool,
    folder: Path,
    *,
    stop: Callable[[], bool],
    tell: Callable[[str], None],
) -> list[Run] | None:
    """All searches, run to `config.trials` trainings each; None where `stop` says so.

    `tell` takes one line for people. Raises InputError.
    """
    if repeats < 2:
        raise InputError("repeats", repeats, "it must be at least 2, or there is nothing to tell")
    config, feasible = prepared.config, prepared.feasible
    readings = Readings(folder / "readings.jsonl")
    runs = []
    for name, settings in names_and_settings(config, names).items():
        for repeat in range(repeats):
            seed = (config.seed + repeat) % 2**32
            sampler = strategies.create(name, feasible, seed=seed, **settings)
            study = optuna.create_study(direction="maximize", sampler=sampler)
            runs.append(Run(name, seed, study))
    # Repeat by repeat over all strategies, so that whoever looks in early can compare.
    waiting = deque(sorted(runs, key=lambda run: run.seed))
    training: dict[int, tuple[tuple[str, int], float]] = {}
    wanting: dict[tuple[str, int], list[Run]] = {}
    numbers = iter(range(2**31))
    while waiting or training:
        if stop():
            return None
        while waiting and pool.idle:
            run = waiting.popleft()
            wish = _advance(run, config.trials, feasible, readings, tell)
            if wish is None:
                continue
            job = (wish.key, run.seed)
            wanting.setdefault(job, []).append(run)
            if len(wanting[job]) == 1:
                number = next(numbers)
                training[number] = job, time.monotonic()
                pool.submit(number, wish.to_dict(), seed=run.seed, verdicts=False)
        for event in pool.wait(1.0):
            if isinstance(event, Scored | Failed):
                job, since = training.pop(event.trial)
                good = isinstance(event, Scored) and math.isfinite(event.score)
                score = event.score if isinstance(event, Scored) and good else None
                reading = Reading(score, time.monotonic() - since)
                readings.keep(*job, reading)
                for run in wanting.pop(job):
                    run.tell(reading)
                    waiting.appendleft(run)
    return runs


def _advance(
    run: Run,
    trials: int,
    feasible: FeasibleSet[Architecture],
    readings: Readings,
    tell: Callable[[str], None],
) -> Architecture | None:
    """Go on with a search through all that is known already, up to what has to be trained."""
    while len(run.readings) < trials and not run.exhausted:
        wish = run.ask(feasible)
        if wish is None:
            break
        known = readings.get(wish.key, run.seed)
        if known is None:
            return wish
        run.tell(known)
    scores = [one.score for one in run.readings if one.score is not None]
    best = f"{max(scores):.4f}" if scores else "none"
    tell(f"{run.strategy}, seed {run.seed}: best of {len(run.readings)} is {best}")
    return None
