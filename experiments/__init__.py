"""Experiments: config, launch, workers, results, export and the command line.

The names below load on first use, so that `convnas --help` starts without torch and Optuna.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config.schema import ExperimentConfig
    from .errors import RunError
    from .experiment import Launched, launch, plan
    from .nni_backend.trial.trial import NNITrial, nni_trial
    from .run.directory import RunDirectory
    from .run.results import Found, best_of, status
    from .search.prepare import read_config
    from .search.progress import Progress

_FILE_OF = {
    "ExperimentConfig": "config.schema",
    "Found": "run.results",
    "Launched": "experiment",
    "NNITrial": "nni_backend.trial.trial",
    "Progress": "search.progress",
    "RunDirectory": "run.directory",
    "RunError": "errors",
    "best_of": "run.results",
    "launch": "experiment",
    "nni_trial": "nni_backend.trial.trial",
    "plan": "experiment",
    "read_config": "search.prepare",
    "status": "run.results",
}

__all__ = [
    "ExperimentConfig",
    "Found",
    "Launched",
    "NNITrial",
    "Progress",
    "RunDirectory",
    "RunError",
    "best_of",
    "launch",
    "nni_trial",
    "plan",
    "read_config",
    "status",
]


def __getattr__(name: str) -> Any:
    if name in _FILE_OF:
        return getattr(importlib.import_module(f".{_FILE_OF[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
