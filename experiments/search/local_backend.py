"""A search on this machine alone: its study is a file of the run, its trials run in our workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.storages import RDBStorage

from ...search_space import Budget
from ...search_space.errors import InputError
from ..config.schema import ExperimentConfig, check_continues
from ..run import study as records
from ..run.directory import RunDirectory
from ..workers.dispatch import Ending, dispatch
from .jobs import slots_of
from .loop import LocalSearch
from .prepare import Prepared
from .session import Session
from .zero_cost_fit import Settled


def slots_here(prepared: Prepared) -> list[str]:
    """The device of each worker on this machine."""
    config = prepared.config
    return slots_of(config, prepared.feasible.dearest(), trials=config.trials)


@contextmanager
def local_study(
    run: RunDirectory, config: ExperimentConfig, settled: Settled
) -> Iterator[tuple[RDBStorage, Prepared]]:
    """The run's study, a file, open for writing. Raises InputError as `begin` does."""
    prepared = begin(run, config, settled)
    storage = records.open_storage(run.study_path)
    try:
        records.write_quickly(storage)
        yield storage, prepared
    finally:
        storage.engine.dispose()  # also where the run fails


def begin(run: RunDirectory, config: ExperimentConfig, settled: Settled) -> Prepared:
    """Write the settled config, and make the study, a file. Returns what `settled` does.

    InputError where the run is another experiment's, or its study foreign or damaged.
    """
    if config.storage is not None:
        allowed = "NNI runs the trials of one machine: leave it out"
        raise InputError("storage", config.storage.url, allowed)
    # Compared before anything is written: another experiment's run stays as it is.
    kept = run.read_config() if run.exists else None
    if kept is not None:
        check_continues(kept, config)
    prepared = settled(kept)
    run.write_config(prepared.config)
    facts, trials = facts_of(config), prepared.beginning
    records.create_study(run.study_path, config.name, config.objectives, facts, trials)
    records.read_all(run.study_path, config.objectives)  # a foreign one is left as it is
    return prepared


def facts_of(config: ExperimentConfig) -> dict[str, Any]:
    """What is noted with the study, for people who look at it in a dashboard."""
    return {"budget": Budget.from_config(config.budget).to_config()}


class LocalBackend:
    """As `experiment.SearchBackend` says."""

    trains_here = True
    slots = staticmethod(slots_here)
    study = staticmethod(local_study)

    def search(self, run: RunDirectory, session: Session, slots: list[str]) -> Ending:
        return dispatch(LocalSearch(session), session.pool, session.stop)
