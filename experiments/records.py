"""The study of a run, read and written: Optuna trials on one side, our words on the other.

The study is the only truth. A trial's user attributes hold what Optuna has no place for:
`architecture` and `key`, `curve` (score of each epoch), the evaluator's metrics under
`metric.<name>`, `score`, `values` (its objectives), and `reason` where it failed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError

from ..search_space.errors import InputError
from .errors import RunError
from .objectives import directions

STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
}


FINAL = " (final)"
"""After the main study's name: the name of the second one, with the final choice's trials."""

_METRIC_NAMES = "study:metric_names"
"""Where `Study.set_metric_names`, which warns that it is experimental, writes."""

_STORAGE_ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError)


def create_study(
    path: Path, name: str, objectives: Sequence[str], facts: Mapping[str, Any] | None = None
) -> None:
    """Make the study's file if it is not there: a whole one or none, whatever interrupts.

    `facts` become the study's user attributes, for people who look at it.
    """
    if path.exists():
        return
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with storage_errors(path):
        storage = RDBStorage(f"sqlite:///{unfinished}")
        study = optuna.create_study(
            storage=storage, study_name=name, directions=directions(objectives)
        )
        # What Optuna's dashboard calls the objectives.
        storage.set_study_system_attr(study._study_id, _METRIC_NAMES, list(objectives))
        for key, value in (facts or {}).items():
            study.set_user_attr(key, value)
        storage.engine.dispose()
    os.replace(unfinished, path)


def open_storage(path: Path) -> RDBStorage:
    """Raises InputError when there is no usable study."""
    return _open(path, f"sqlite:///{path}")


def open_to_read(path: Path) -> RDBStorage:
    """As `open_storage`, but the database refuses whoever tries to write."""
    return _open(path, f"sqlite:///file:{quote(str(path.absolute()))}?mode=ro&uri=true")


def _open(path: Path, url: str) -> RDBStorage:
    if not path.is_file():
        raise InputError(str(path), "this file", "the run has no study; launch it again")
    try:
        storage = RDBStorage(url, skip_table_creation=True)
        studies = storage.get_all_studies()
    except (*_STORAGE_ERRORS, RuntimeError, AssertionError) as e:
        raise InputError(str(path), "this file", "it is not a study that Optuna can read") from e
    if not studies:
        raise InputError(str(path), "this file", "it must hold a study")
    return storage


def write_quickly(storage: RDBStorage) -> None:
    """Write ahead, without waiting for the disk at each of a trial's thirty small writes.

    A killed process loses nothing by it, and a power cut the last moments but never the file.
    """

    def prepare(connection: Any, record: object) -> None:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode == "wal":  # some network file systems refuse
            connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(storage.engine, "connect", prepare)
    storage.engine.dispose()


def close(storage: RDBStorage) -> None:
    """Leave one plain file that can be copied, and read where nothing may be written."""
    with storage.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
    storage.engine.dispose()


def open_study(
    storage: RDBStorage,
    *,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """The main study: the first one in the storage."""
    first = min(storage.get_all_studies(), key=lambda study: study._study_id)
    return optuna.load_study(
        study_name=first.study_name, storage=storage, sampler=sampler, pruner=pruner
    )


def read_trials(path: Path) -> list[FrozenTrial]:
    """All trials of a run's main study."""
    return read_all(path)[0]


def read_all(path: Path) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """All trials of a run's main study, and of its final choice (none where it has made none)."""
    storage = open_storage(path)
    try:
        with storage_errors(path):
            main = open_study(storage)
            name = main.study_name + FINAL
            final = []
            if name in optuna.get_all_study_names(storage):
                study = optuna.load_study(study_name=name, storage=storage)
                final = study.get_trials(deepcopy=False)
            return main.get_trials(deepcopy=False), final
    finally:
        storage.engine.dispose()


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """A disk that is full or not writable becomes one line; the study stays as it was."""
    try:
        yield
    except _STORAGE_ERRORS as e:
        cause: BaseException = e
        while cause.__cause__ is not None:
            cause = cause.__cause__
        message = " ".join(str(getattr(cause, "orig", None) or cause).split())[:200]
        raise RunError(f"the study {path} cannot be used: {message}") from e


def count(trials: list[FrozenTrial]) -> dict[str, int]:
    return {word: sum(trial.state == state for trial in trials) for word, state in STATES.items()}


def ranked(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Complete trials, best first: by score, then fewer flops, then the earlier one."""
    complete = [t for t in trials if t.state == TrialState.COMPLETE and t.values is not None]
    return sorted(
        complete, key=lambda t: (-t.values[0], t.user_attrs.get("flops", math.inf), t.number)
    )


def tell_kept(study: optuna.Study, trial: FrozenTrial) -> None:
    """Tell the study a running trial's end, from the values that were kept with it."""
    if trial.user_attrs["pruned"]:
        study.tell(trial.number, state=TrialState.PRUNED, skip_if_finished=True)
    else:
        study.tell(trial.number, trial.user_attrs["values"], skip_if_finished=True)


def metrics_of(trial: FrozenTrial) -> dict[str, float]:
    attrs: Mapping[str, Any] = trial.user_attrs
    return {k.removeprefix("metric."): v for k, v in attrs.items() if k.startswith("metric.")}


def reasons(trials: list[FrozenTrial]) -> dict[str, int]:
    """Why trials failed, and how many, the most frequent first."""
    found: dict[str, int] = {}
    for trial in trials:
        if trial.state == TrialState.FAIL:
            reason = trial.user_attrs.get("reason", "no reason kept")
            found[reason] = found.get(reason, 0) + 1
    return dict(sorted(found.items(), key=lambda item: -item[1]))
