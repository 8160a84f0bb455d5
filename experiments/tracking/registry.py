"""What a tracker is, and the trackers by the names they have in a config."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from ...search_space.errors import InputError, unknown_name
from .record import Record


class Tracker(Protocol):
    """Somewhere to copy finished trials to; what it has is not added again, see `known`."""

    place: str
    """Where people find it, in words."""

    def known(self) -> set[int]:
        """The numbers of the run's trials that need not be added again."""
        ...

    def add(self, record: Record) -> None:
        """Copy a trial that is not known. Any error gives the tracker up for this launch."""
        ...

    def pass_over(self, record: Record) -> None:
        """In place of `add`, for a trial that is known."""
        ...

    def close(self) -> None:
        """Called once, after the last trial; not after an error."""
        ...


def _tensorboard(run: Path, experiment: str, identity: str) -> Tracker:
    from .tensorboard import TensorBoard

    return TensorBoard(run, experiment)


def _mlflow(run: Path, experiment: str, identity: str) -> Tracker:
    from .mlflow import MLflow

    return MLflow(run, experiment, identity)


TRACKERS: dict[str, Callable[[Path, str, str], Tracker]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
}
"""A name -> what makes the tracker from the run directory, the experiment's name and the run's
identity. Raises InputError where its tool is not installed or cannot be used."""


def check_trackers(names: Sequence[str], key: str = "track") -> None:
    """InputError for a name that is not known, or that comes twice."""
    for name in names:
        if name not in TRACKERS:
            raise unknown_name(key, name, TRACKERS)
    if len(set(names)) < len(names):
        raise InputError(key, list(names), "each name once")


def open_trackers(
    names: Sequence[str], run: Path, experiment: str, identity: str
) -> dict[str, Tracker]:
    """A tracker for each name, in their order. InputError as `TRACKERS` says."""
    return {name: TRACKERS[name](run, experiment, identity) for name in names}
