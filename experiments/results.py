"""What a run has found, read from its study: for `status`, the closing table and `export`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from ..search_space import Architecture
from ..search_space.errors import InputError
from . import records
from .run_dir import RunDirectory


@dataclass(frozen=True)
class Found:
    """A complete trial. `score` is the evaluator's, on the validation split where there is one."""

    trial: int
    score: float
    flops: int
    params: int
    architecture: Architecture

    def to_dict(self) -> dict[str, Any]:
        return {
            "trial": self.trial,
            "score": self.score,
            "flops": self.flops,
            "params": self.params,
            "key": self.architecture.key,
            "architecture": self.architecture.to_dict(),
        }


def best_of(run: RunDirectory, top: int) -> list[Found]:
    """The `top` best complete trials, best first; fewer where there are fewer."""
    return [_found(trial) for trial in records.ranked(records.read_trials(run.study_path))[:top]]


def _found(trial: FrozenTrial) -> Found:
    attrs = trial.user_attrs
    architecture = Architecture.from_dict(attrs["architecture"])
    return Found(trial.number, trial.values[0], attrs["flops"], attrs["params"], architecture)


def status(run: RunDirectory) -> dict[str, Any]:
    """JSON-able: trials by state and wanted, the best, the workers of a launch going on."""
    config = run.read_config()
    trials = records.read_trials(run.study_path)
    workers = run.workers()
    best = records.ranked(trials)[:1]
    return {
        "run": str(run.path),
        "name": config.name,
        "strategy": config.strategy.name,
        "device": config.device,
        "active": workers is not None,
        "wanted": config.trials,
        "trials": records.count(trials),
        "best": _found(best[0]).to_dict() if best else None,
        "failures": records.reasons(trials),
        "workers": workers or [],
    }


def need_best(run: RunDirectory, top: int) -> list[Found]:
    """As `best_of`, but InputError where no trial is complete."""
    found = best_of(run, top)
    if not found:
        raise InputError("RUN_DIR", str(run.path), "it must hold at least one complete trial")
    return found
