"""The evaluator "tabular": what a table says, at once, as if it had just been trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..search_space import Architecture, InputError
from .base import ACCURACY, Evaluation, EvaluationError, Report, keep_going
from .settings import Settings, flag, setting, text
from .table import Table, TableRow
from .training.scores import SCORES, score_of, score_problem


@dataclass(frozen=True)
class TabularSettings(Settings):
    """`table`: a file of `convnas tabulate`, or a built-in table's name. `score`: as the proxy's.

    An evaluation with seed s gives the table's record number s, counted round; `mean` gives the
    mean over all of them instead, the best estimate of what is true.
    """

    table: str = text(
        "", "the path of a table that convnas tabulate made, or a built-in one's name"
    )
    score: str = setting(ACCURACY, score_problem)
    mean: bool = flag(False)


class Tabular:
    """Replays the epochs of a record to the report, so that pruning works as in training."""

    def __init__(self, settings: TabularSettings, data: Mapping[str, Any]) -> None:
        self.settings, self.table = settings, Table.load(settings.table)
        made_with = self.table.header["data"]
        if dict(data) != dict(made_with):
            raise InputError("data", dict(data), f"the table was made with {made_with}")
        name = settings.score
        if name not in SCORES and name not in (known := self._measured()):
            allowed = f"the table was made without it, with {', '.join(known)}"
            raise InputError("evaluator.score", name, allowed)

    def _measured(self) -> list[str]:
        """The metrics after each epoch."""
        records = (record for row in self.table.rows.values() for record in row)
        return next((list(record.epochs[0]) for record in records if record.epochs), [])

    def evaluate(self, arch: Architecture, *, seed: int, report: Report = keep_going) -> Evaluation:
        self._check_fits(arch)
        records = self.table.of(arch)
        if records is None:
            raise EvaluationError(f"the table does not hold {arch}")
        chosen = records if self.settings.mean else [records[seed % len(records)]]
        # One failure is enough: a mean over the other seeds would flatter the architecture.
        reasons = [record.reason for record in chosen if record.reason is not None]
        if reasons:
            raise EvaluationError(reasons[0])
        return self._replay(chosen, report)

    def _check_fits(self, arch: Architecture) -> None:
        space = self.table.header["space"]
        if list(arch.input) != list(space["input"]):
            raise InputError("input", list(arch.input), f"the table is of {space['input']}")
        if arch.classes != space["classes"]:
            allowed = f"the data has {space['classes']} classes"
            raise InputError("classes", arch.classes, allowed)

    def _replay(self, records: list[TableRow] | Any, report: Report) -> Evaluation:
        score = score_of(self.settings.score)
        metrics = _mean([record.metrics for record in records])
        epochs = [_mean(each) for each in zip(*(r.epochs for r in records), strict=True)]
        if not epochs:  # of an evaluator without epochs
            return Evaluation(metrics["score"], metrics)
        curve: list[float] = []
        for number, epoch in enumerate(epochs, 1):
            curve.append(score(epoch))
            stop = report(number, {**epoch, "score": curve[-1]})
            if stop and number < len(epochs):
                return Evaluation(curve[-1], dict(epoch), tuple(curve), pruned=True)
        return Evaluation(curve[-1], {**metrics, **epochs[-1]}, tuple(curve))


def _mean(records: Any) -> dict[str, float]:
    records = list(records)
    return {name: float(np.mean([each[name] for each in records])) for name in records[0]}
