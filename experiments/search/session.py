"""A search that is under way: made by `launch`, used by whoever runs the trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from ...search_space import Architecture
from ..config.schema import ExperimentConfig
from ..workers.pool import WorkerPool
from .prepare import Prepared
from .progress import Watch, unwatched
from .trial_log import TrialLog, nobody, unkept


@dataclass(frozen=True)
class Session:
    """`stop` says whether the user wants it to end; `log` takes one line for people.

    watch: told of the progress after every change. on_best: told of every new best architecture.
    ended: told of every trial that is over, once the study knows.
    """

    prepared: Prepared
    study: optuna.Study
    pool: WorkerPool
    stop: Callable[[], bool]
    log: Callable[[str], None]
    watch: Watch = unwatched
    on_best: Callable[[Architecture], None] = unkept
    ended: Callable[[FrozenTrial], None] = nobody

    @property
    def config(self) -> ExperimentConfig:
        return self.prepared.config

    def trial_log(self, **changes: Any) -> TrialLog:
        """The record of this search's trials; `changes` are those of `TrialLog`'s keywords."""
        usual: dict[str, Any] = {
            "share": self.prepared.feasible.share,
            "watch": self.watch,
            "on_best": self.on_best,
            "ended": self.ended,
        }
        return TrialLog(self.config, self.study, log=self.log, **{**usual, **changes})
