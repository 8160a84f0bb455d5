"""Keeping trackers in step with a study: what they lack first, then each trial as it ends.

The study stays the only truth. A tracker that fails is given up with a line in the log; the search
goes on, and the next launch, or `convnas track`, catches up.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial

from ...search_space.errors import InputError
from ..errors import RunError
from ..run import study as records
from ..run.directory import RunDirectory
from ..run.soundness import sound_trials
from .record import Record, record_of
from .registry import Tracker, check_trackers, open_trackers

if TYPE_CHECKING:
    from typing_extensions import Self

_IDENTITY = "convnas:tracking"
_LINGER = 60.0
"""Seconds that a slow server gets at the end of a search."""


def identity_of(study: optuna.Study) -> str:
    """Made with the first tracking of a run, and kept in its study."""
    kept = study.user_attrs.get(_IDENTITY)
    if kept is None:
        kept = uuid.uuid4().hex
        study.set_user_attr(_IDENTITY, kept)
    return str(kept)


class Tracking:
    """The trackers `names` of a launch: a context, within which `ended` is told of every trial.

    Raises InputError on entering where a tracker's tool is not installed or cannot be used.
    """

    def __init__(self, names: Sequence[str], run: RunDirectory, study: optuna.Study) -> None:
        self._names, self._run, self._study = names, run, study
        self._feeds: list[_Feed] = []

    def __enter__(self) -> Self:
        if not self._names:
            return self
        identity = identity_of(self._study)
        # All are opened before the first thread starts: a tool that is missing ends the launch with
        # nothing left running.
        made = open_trackers(self._names, self._run.path, self._study.study_name, identity)
        self._feeds = [_Feed(name, tracker, self._run.log) for name, tracker in made.items()]
        for name, tracker in made.items():
            self._run.log(f"track: {name} at {tracker.place}")
        for trial in self._study.get_trials(deepcopy=False):
            self.ended(trial)
        return self

    def ended(self, trial: FrozenTrial) -> None:
        """The trial, as the study has it, is over."""
        record = record_of(trial) if self._feeds else None
        if record is not None:
            for feed in self._feeds:
                feed.put(record)

    def __exit__(self, *exception: object) -> None:
        for feed in self._feeds:
            feed.put(None)
        # One deadline for all, which work side by side: the end of a search waits for it once.
        deadline = time.monotonic() + _LINGER
        for feed in self._feeds:
            feed.wait(max(0.0, deadline - time.monotonic()))


class _Feed:
    """One tracker on a thread of its own, so that a slow server never holds up the search."""

    def __init__(self, name: str, tracker: Tracker, log: Callable[[str], None]) -> None:
        self._name, self._tracker, self._log = name, tracker, log
        self._waiting: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"track {name}", daemon=True)
        self._thread.start()

    def put(self, record: Record | None) -> None:
        """None: that was all."""
        self._waiting.put(record)

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds)
        if self._thread.is_alive():
            self._give_up("it takes too long")

    def _run(self) -> None:
        try:
            copy_to(self._tracker, iter(self._waiting.get, None))
        except Exception as e:  # noqa: BLE001  (whatever a server says, the search goes on)
            self._give_up(" ".join(str(e).split())[:300])

    def _give_up(self, reason: str) -> None:
        self._log(f"track: {self._name} is given up ({reason}); convnas track catches up later")


def copy_to(tracker: Tracker, found: Iterable[Record]) -> int:
    """Add what the tracker does not know; returns how many that were."""
    known, added = tracker.known(), 0
    for record in found:
        if record.number in known:
            tracker.pass_over(record)
        else:
            tracker.add(record)
            added += 1
    tracker.close()
    return added


def track_run(run: RunDirectory, names: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Copy a run's finished trials to the trackers `names`: where each is, and how many were new.

    Raises InputError where a name is unknown, a tool is missing, or a launch is using the run, and
    RunError where a tracker fails on the way.
    """
    check_trackers(names, "to")
    if run.workers() is not None:
        allowed = "a launch is using it; put track: [...] into its config to follow it"
        raise InputError("RUN_DIR", str(run.path), allowed)
    storage = records.open_storage(run.study)
    try:
        with records.storage_errors(run.study):
            study = records.study_at(storage, run.study)
            trials = sound_trials(study, run.study)
            identity = identity_of(study) if names else ""
            name = study.study_name
    finally:
        # The database is let go before any tracker is asked, for a server may be slow.
        storage.engine.dispose()
    found = [record for record in map(record_of, trials) if record is not None]
    trackers = open_trackers(names, run.path, name, identity)
    return {
        tool: (tracker.place, _copied(tool, tracker, found)) for tool, tracker in trackers.items()
    }


def _copied(tool: str, tracker: Tracker, found: Iterable[Record]) -> int:
    try:
        return copy_to(tracker, found)
    except Exception as e:
        raise RunError(f"{tool} failed: {' '.join(str(e).split())[:300]}") from e
