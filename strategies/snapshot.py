"""A study as it is while one proposal is made."""

from __future__ import annotations

import copy
from collections.abc import Container
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class Snapshot:
    """A storage read once, whatever the number of questions; the rest of it passes through.

    What an algorithm notes on trials while it makes up its mind is kept until `flush`, so a
    proposal that takes many wishes writes to the database as if it took one.
    """

    def __init__(self, storage: BaseStorage, study_id: int) -> None:
        self._storage = storage
        self._trials = storage.get_all_trials(study_id, deepcopy=False)
        self._noted: dict[tuple[int, str], Any] = {}

    @classmethod
    def of(cls, study: Study) -> tuple[Study, Snapshot]:
        """A study like `study` that reads from the snapshot, and the snapshot.

        A pruner with brackets shows its samplers a part of the study; that one is left as it is.
        """
        snapshot = cls(study._storage, study._study_id)
        if type(study) is Study:
            # Shallow: the caller's study keeps its own storage.
            study = copy.copy(study)
            study._storage = snapshot  # type: ignore[assignment]
        return study, snapshot

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        trials = [t for t in self._trials if states is None or t.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        # Nothing shows it before `flush`: the trials read here are those of the beginning.
        self._noted[trial_id, key] = value

    def flush(self) -> None:
        """Write what was noted, once for each trial and key: of several notes the last."""
        for (trial_id, key), value in self._noted.items():
            self._storage.set_trial_system_attr(trial_id, key, value)
        self._noted.clear()
