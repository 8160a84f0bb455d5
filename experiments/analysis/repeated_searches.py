"""Several strategies on one experiment, many times over: run, with every training done once.

Each strategy searches `repeats` times; repeat r has seed `seed + r` for the strategy and for the
training, so that repeats are pairs across strategies. An architecture that two searches try with
one seed is trained once. What was trained is kept in the folder as it comes, so a comparison that
was stopped goes on where it was.
"""

from __future__ import annotations

import itertools
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
from ..workers.dispatch import Ending, Task, TaskSource, dispatch
from ..workers.events import Event, Failed, Scored
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

    def of(self, architecture: Architecture, seed: int) -> Reading | None:
        """Also where 0.1.0 kept it."""
        return self.get(architecture.key, seed) or self.get(architecture.key_as_written, seed)

    def keep(self, key: str, seed: int, reading: Reading) -> None:
        """Noted, and written at once: a comparison that is killed loses only what is running."""
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
        """The reading of what was last asked for; without a score its trial has failed."""
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
    runs = []
    for name, settings in names_and_settings(config, names).items():
        for repeat in range(repeats):
            seed = (config.seed + repeat) % 2**32
            sampler = strategies.create(name, feasible, seed=seed, **settings)
            study = optuna.create_study(direction="maximize", sampler=sampler)
            runs.append(Run(name, seed, study))
    readings = Readings(folder / "readings.jsonl")
    searches = _Searches(runs, feasible, readings, config.trials, tell)
    return runs if dispatch(searches, pool, stop) == "done" else None


class _Searches(TaskSource):
    """All the searches at once: what several want at the same time is trained once."""

    def __init__(
        self,
        runs: list[Run],
        feasible: FeasibleSet[Architecture],
        readings: Readings,
        trials: int,
        tell: Callable[[str], None],
    ) -> None:
        self._feasible, self._readings, self._trials, self._tell = feasible, readings, trials, tell
        # Repeat by repeat over all strategies, so that whoever looks in early can compare.
        self._waiting = deque(sorted(runs, key=lambda run: run.seed))
        # Every search is in `_waiting`, in one list of `_wanting`, or over; there is one training
        # for each key of `_wanting`. So all is done when nothing waits and nothing trains.
        self._training: dict[int, tuple[tuple[str, int], float]] = {}
        self._wanting: dict[tuple[str, int], list[Run]] = {}
        self._numbers = itertools.count()

    def next(self) -> Task | None:
        while self._waiting:
            run = self._waiting.popleft()
            wish = self._advance(run)
            if wish is None:
                continue
            job = (wish.key, run.seed)
            self._wanting.setdefault(job, []).append(run)
            # Whoever wants the same later waits for the training that is under way.
            if len(self._wanting[job]) == 1:
                number = next(self._numbers)
                self._training[number] = job, time.monotonic()
                return Task(number, wish, run.seed)
        return None

    def hear(self, event: Event) -> bool:
        if isinstance(event, Scored | Failed):
            job, since = self._training.pop(event.trial)
            good = isinstance(event, Scored) and math.isfinite(event.score)
            score = event.score if isinstance(event, Scored) and good else None
            reading = Reading(score, time.monotonic() - since)
            self._readings.keep(*job, reading)
            for run in self._wanting.pop(job):
                run.tell(reading)
                # To the front: a repeat that has begun goes on before later ones begin.
                self._waiting.appendleft(run)
        return False

    def ending(self) -> Ending | None:
        return None if self._waiting or self._training else "done"

    def _advance(self, run: Run) -> Architecture | None:
        """Go on with a search through all that is known already, up to what has to be trained."""
        while len(run.readings) < self._trials and not run.exhausted:
            wish = run.ask(self._feasible)
            if wish is None:
                break
            known = self._readings.of(wish, run.seed)
            if known is None:
                return wish
            # Its seconds count for this search too, as if it had trained the architecture itself.
            run.tell(known)
        scores = [one.score for one in run.readings if one.score is not None]
        best = f"{max(scores):.4f}" if scores else "none"
        self._tell(f"{run.strategy}, seed {run.seed}: best of {len(run.readings)} is {best}")
        return None
