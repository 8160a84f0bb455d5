"""Trials as runs of MLflow: the experiment has the config's name, a run for each trial.

The tracking server is MLflow's own choice: MLFLOW_TRACKING_URI, else what MLflow takes by default.
A run bears the tags `convnas.run`, the run directory's identity, and `convnas.trial`.
"""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...search_space.errors import InputError
from .record import Record

if TYPE_CHECKING:
    from mlflow.entities import Run

MISSING = "pip install 'convnas[mlflow]' brings MLflow"
_RUN, _TRIAL = "convnas.run", "convnas.trial"
_PAGE = 1000


class MLflow:
    """`identity` is the same for every launch of one run directory, and for no other."""

    def __init__(self, run: Path, experiment: str, identity: str) -> None:
        try:
            import mlflow
        except ImportError as e:
            raise InputError("track", "mlflow", f"it is not installed: {MISSING}") from e
        self._identity, self._run = identity, run
        self.place = f"{mlflow.get_tracking_uri()}, experiment {experiment!r}"
        try:
            self._client = mlflow.MlflowClient()
            found = self._client.get_experiment_by_name(experiment)
            self._experiment = (
                found.experiment_id if found else self._client.create_experiment(experiment)
            )
        except Exception as e:
            reason = " ".join(str(e).split())[:300]
            allowed = f"MLflow at {mlflow.get_tracking_uri()} cannot be used: {reason}"
            raise InputError("track", "mlflow", allowed) from e

    def known(self) -> set[int]:
        """The trials that are there whole; what a killed launch left of another one is removed."""
        found: set[int] = set()
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                filter_string=f"tags.`{_RUN}` = '{self._identity}'",
                max_results=_PAGE,
                page_token=token,
            )
            for run in page:
                # `add` sets the status last, so a run that still runs was left half written.
                if run.info.status == "RUNNING":
                    self._client.delete_run(run.info.run_id)
                else:
                    found.add(int(run.data.tags[_TRIAL]))
            token = page.token
            if not token:
                return found

    def pass_over(self, record: Record) -> None:
        """It is there, whole."""

    def add(self, record: Record) -> None:
        from mlflow.entities import Metric, Param

        run = self._begun(record)
        now, last = _milliseconds(record.end), max(1, len(record.curve))
        metrics = [Metric(name, value, now, last) for name, value in record.metrics.items()]
        metrics += [
            Metric("score by epoch", score, now, epoch)
            for epoch, score in enumerate(record.curve, 1)
        ]
        params = [Param(name, str(value)) for name, value in record.choices.items()]
        self._client.log_batch(run.info.run_id, metrics=metrics, params=params)
        # Last: until then the run reads as unfinished and is added anew by the next launch.
        status = "FAILED" if record.state == "failed" else "FINISHED"
        self._client.set_terminated(run.info.run_id, status=status, end_time=now)

    def _begun(self, record: Record) -> Run:
        tags: dict[str, Any] = {
            _RUN: self._identity,
            _TRIAL: str(record.number),
            "convnas.state": record.state,
            "convnas.architecture": record.architecture,
            "convnas.key": record.key,
            "convnas.directory": str(self._run),
            "mlflow.runName": f"trial {record.number}",
        }
        if record.reason:
            tags["convnas.reason"] = record.reason
        start = _milliseconds(record.start)
        return self._client.create_run(self._experiment, start_time=start, tags=tags)

    def close(self) -> None:
        """Nothing is left open."""


def _milliseconds(when: datetime | None) -> int:
    """Since 1970; Optuna keeps local times without a zone."""
    return int((when.timestamp() if when else time.time()) * 1000)
