"""The study of a run, read and written: Optuna trials on one side, our words on the other.

The study is the only truth. A trial's user attributes hold what Optuna has no place for:
`architecture` and `key`, `curve` (score of each epoch), the evaluator's metrics under
`metric.<name>`, `score`, `values` (its objectives), and `reason` where it failed; and where it
is of an earlier run, `from_run` and `from_trial`, see `search/earlier_runs.py`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from ...search_space import Architecture
from ...search_space.errors import InputError
from ..config.sections import Objective
from ..errors import RunError
from .objectives import METRIC_NAMES, directions
from .postgres import Database
from .soundness import UNREADABLE, sound_trials

StudyPlace = Path | Database
"""Where a run's study is: a file, or a database that other machines reach."""

STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
}
"""Our words for Optuna's states; a trial that waits is in none of them."""


FINAL = " (final)"
"""After the main study's name: the name of the second one, with the final choice's trials."""

FROM_RUN, FROM_TRIAL = "from_run", "from_trial"
"""Attributes of trials that an earlier run has given: its folder, and the trial's number there."""

TAKEN_OVER = "taken_over"
"""True of those that came with their scores; the others were to be tried first."""

_STORAGE_ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError)


def key_of(trial: FrozenTrial) -> str:
    """The key of a trial's architecture, also where 0.1.0 wrote another spelling's."""
    attrs = trial.user_attrs
    if "architecture" in attrs:
        return Architecture.from_dict(attrs["architecture"]).key
    return str(attrs["key"])  # its search was killed between the two


def create_study(
    place: StudyPlace,
    name: str,
    objectives: Sequence[Objective],
    facts: Mapping[str, Any] | None = None,
    trials: Sequence[FrozenTrial] = (),
) -> None:
    """Make the study if it is not there: a whole one or none, whatever interrupts.

    `facts` become the study's user attributes, for people who look at it. `trials`: those that it
    begins with, in a file.
    """
    if isinstance(place, Database):
        storage = place.open(create=True)
        _create(storage, name, objectives, facts)
        storage.engine.dispose()
        return
    if place.exists():
        return
    # Renamed when whole, so that a file of the study's name is always a study that can be opened.
    unfinished = place.with_name(f".{place.name}.new")
    unfinished.unlink(missing_ok=True)
    with storage_errors(place):
        storage = RDBStorage(_url(unfinished, "rwc"))
        _create(storage, name, objectives, facts)
        open_study(storage).add_trials(trials)
        storage.engine.dispose()
    os.replace(unfinished, place)


def _create(
    storage: RDBStorage, name: str, objectives: Sequence[Objective], facts: Mapping[str, Any] | None
) -> None:
    try:
        study = optuna.create_study(
            storage=storage, study_name=name, directions=directions(objectives)
        )
    except optuna.exceptions.DuplicatedStudyError:
        # From an earlier launch or another machine, whose facts stand.
        return
    # What Optuna's dashboard calls the objectives.
    storage.set_study_system_attr(study._study_id, METRIC_NAMES, [each.name for each in objectives])
    for key, value in (facts or {}).items():
        study.set_user_attr(key, value)


def open_storage(place: StudyPlace) -> RDBStorage:
    """Raises InputError when there is no usable study."""
    if isinstance(place, Database):
        return place.open()
    return _open(place, "rw")


def open_to_read(place: StudyPlace) -> RDBStorage:
    """As `open_storage`, but the database refuses whoever tries to write."""
    if isinstance(place, Database):
        return place.open(read_only=True)
    return _open(place, "ro")


def _url(path: Path, mode: Literal["ro", "rw", "rwc"]) -> str:
    """SQLite reads %, ? and # in a name as an address's, and Optuna the braces: all are quoted."""
    name = f"file:{quote(os.fsencode(path.absolute()))}"
    if make_url(f"sqlite:///{name}").database != name:
        name = quote(name)  # SQLAlchemy decodes it once, from 2.1 on
    return f"sqlite:///{name}?mode={mode}&uri=true"


def _open(path: Path, mode: Literal["ro", "rw"]) -> RDBStorage:
    if not os.path.isfile(path):
        raise InputError(str(path), "this file", "the run has no study; launch it again")
    try:
        storage = RDBStorage(_url(path, mode), skip_table_creation=True)
        studies = storage.get_all_studies()
    except (*_STORAGE_ERRORS, *UNREADABLE, RuntimeError) as e:
        raise InputError(str(path), "this file", "it is not a study that Optuna can read") from e
    if not studies:
        raise InputError(str(path), "this file", "it must hold a study")
    # SQLite keeps whatever was written into a column of text.
    if not all(isinstance(study.study_name, str) for study in studies):
        raise InputError(str(path), "this file", "it is damaged: a study's name in it is no text")
    try:
        for study in studies:
            storage.get_study_id_from_name(study.study_name)
    except KeyError as e:
        allowed = f"it is damaged: its index has no study {study.study_name!r}"
        raise InputError(str(path), "this file", allowed) from e
    return storage


def write_quickly(storage: RDBStorage) -> None:
    """Write ahead, without waiting for the disk at each of a trial's thirty small writes.

    A killed process loses nothing by it, and a power cut the last moments but never the file.
    """

    if storage.engine.dialect.name != "sqlite":
        return

    def prepare(connection: Any, record: object) -> None:
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode == "wal":  # some network file systems refuse
            connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(storage.engine, "connect", prepare)
    # Connections made before are without it, and are made anew.
    storage.engine.dispose()


def close(storage: RDBStorage) -> None:
    """Leave one plain file that can be copied, and read where nothing may be written."""
    if storage.engine.dialect.name == "sqlite":
        with storage.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
        storage.engine.dispose()


def open_study(
    storage: BaseStorage,
    name: str | None = None,
    *,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:
    """The main study: the one called `name`, by default the first one in the storage."""
    if name is None:
        # The search's study is made before that of its final choice.
        name = min(storage.get_all_studies(), key=lambda study: study._study_id).study_name
    return optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)


def study_at(storage: RDBStorage, place: StudyPlace) -> optuna.Study:
    """The main study of a run. Raises InputError where a database does not have it."""
    if not isinstance(place, Database):
        return open_study(storage)
    try:
        return open_study(storage, place.study)
    except KeyError as e:
        known = ", ".join(optuna.get_all_study_names(storage)) or "none"
        raise InputError("name", place.study, f"studies in {place}: {known}") from e


def read_trials(place: StudyPlace) -> list[FrozenTrial]:
    """All trials of a run's main study."""
    return read_all(place)[0]


def read_all(
    place: StudyPlace, objectives: Sequence[Objective] | None = None
) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """All trials of a run's main study, and of its final choice (none where it has made none).

    Raises InputError where the study is not ours or one of them is damaged, see `sound_trials`, or
    where it is after other things than `objectives`.
    """
    with storage_errors(place):
        storage = open_storage(place)
    try:
        with storage_errors(place):
            main = study_at(storage, place)
            trials, final = sound_trials(main, place), list[FrozenTrial]()
            if objectives and [d.name.lower() for d in main.directions] != directions(objectives):
                names = ", ".join(each.name for each in objectives)
                allowed = f"its study has not the objectives {names}"
                raise InputError(str(place), "this file", allowed)
            name = main.study_name + FINAL
            if name in optuna.get_all_study_names(storage):
                study = optuna.load_study(study_name=name, storage=storage)
                final = sound_trials(study, place, final=True)
            return trials, final
    finally:
        storage.engine.dispose()


@contextmanager
def storage_errors(place: StudyPlace | str) -> Iterator[None]:
    """A full disk or a server that is not there becomes one line; the study stays as it was."""
    try:
        yield
    except _STORAGE_ERRORS as e:
        # The innermost cause is in the driver's own words, without the statement that failed.
        cause: BaseException = e
        while cause.__cause__ is not None:
            cause = cause.__cause__
        message = " ".join(str(getattr(cause, "orig", None) or cause).split())[:200]
        raise RunError(f"the study {place} cannot be used: {message}") from e


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
