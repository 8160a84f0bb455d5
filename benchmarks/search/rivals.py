"""One search: a strategy, or a rival that knows nothing of the cap, on one task.

A search is shown one reading a training; its winner is the network with the best mean of what it
was shown. Regret is the gap in points, by the mean of all readings, to the best within the cap.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from convnas import strategies

from .tasks import Task

PLAIN = "plain tpe"
MARKS = (10, 20, 32, 40, 50, 64, 80, 96, 100)
_MOST_ASKED = 20_000

Options = tuple[int, ...]


@dataclass
class Search:
    """shown: options -> the readings so far; regret and tried: after each training, the winner's
    regret and that of the best network trained at all; refused: proposals over the cap."""

    task: Task
    seed: int
    shown: dict[Options, list[float]] = field(default_factory=lambda: defaultdict(list))
    regret: list[float] = field(default_factory=list)
    tried: list[float] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        self._reading = self.task.observed(self.seed)

    def train(self, row: Options) -> float:
        """The reading of one more training of a network within the cap."""
        self.shown[row].append(self._reading(row, len(self.shown[row])))
        winner = max(self.shown, key=lambda each: float(np.mean(self.shown[each])))
        left = self.task.best - self.task.mean[row]
        self.regret.append(self.task.best - self.task.mean[winner])
        self.tried.append(min(left, *self.tried[-1:]) if self.tried else left)
        return self.shown[row][-1]

    def result(self) -> dict[str, Any]:
        """Regrets at the marks; a search that ended early keeps its last ones."""
        marks = [mark for mark in MARKS if mark <= self.task.trainings]
        return {
            "regret": {str(n): round(self.regret[:n][-1], 4) for n in marks},
            "tried": {str(n): round(self.tried[:n][-1], 4) for n in marks},
            "trainings": len(self.regret),
            "repeats": len(self.regret) - len(self.shown),
            "refused": self.refused,
        }


def searched(task: Task, name: str, seed: int, at_once: int = 1, **settings: Any) -> Search:
    """A whole search; at_once: how many workers ask before any of them tells."""
    if name == PLAIN:
        return plain(task, seed)
    found = Search(task, seed)
    sampler = strategies.create(name, task.feasible, seed=seed, **settings)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    while len(found.regret) < task.trainings:
        n = min(at_once, task.trainings - len(found.regret))
        trials = [study.ask() for _ in range(n)]
        for trial in trials:
            row = task.feasible.indices(task.feasible.suggest(trial))
            study.tell(trial, found.train(row))
    return found


def plain(task: Task, seed: int) -> Search:
    """Optuna's TPE as its users have it: a network over the cap is told FAIL untrained."""
    found = Search(task, seed)
    study = optuna.create_study(direction="maximize", sampler=TPESampler(seed=seed))
    while len(found.regret) < task.trainings and found.refused < _MOST_ASKED:
        trial = study.ask()
        params = {
            name: trial.suggest_categorical(name, labels)
            for name, labels in task.feasible.distributions.items()
        }
        try:
            row = task.feasible.chain.locate(params)
        except ValueError:
            row = ()
        if row in task.accuracy:
            study.tell(trial, found.train(row))
        else:
            found.refused += 1
            study.tell(trial, state=TrialState.FAIL)
    return found
