"""A launch whose study is on PostgreSQL: the study made, its config in it, and no second launch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from optuna.storages import RDBStorage

from ...search_space.errors import InputError
from ..config.schema import ExperimentConfig, check_continues, read_config
from ..run import study as records
from ..run.directory import RunDirectory
from ..run.postgres import Database
from ..search.zero_cost_fit import Settled
from .ledger import CONFIG_KEY, PostgresLedger


@contextmanager
def share(
    run: RunDirectory, config: ExperimentConfig, facts: Mapping[str, Any], settled: Settled
) -> Iterator[tuple[PostgresLedger, RDBStorage, ExperimentConfig]]:
    """The ledger, the storage and the settled config of a study that workers anywhere can now find.

    Raises InputError where the study is another experiment's, or another launch is using it.
    """
    assert config.storage is not None
    if run.exists:
        check_continues(run.read_config(), config)
    database = Database.parse(config.storage.url, config.name, key="storage.url")
    records.create_study(database, config.name, config.objectives, facts)
    storage = database.open()
    try:
        PostgresLedger.make_table(storage)
        study = records.study_at(storage, database)
        ledger = PostgresLedger(storage, study._study_id, grace=config.storage.grace)
        with ledger.launching() as alone:
            if not alone:
                allowed = (
                    f"another launch is using its study {config.name!r}; let this machine help "
                    f"with: convnas worker '{database}' --study {config.name}"
                )
                raise InputError("storage", str(database), allowed)
            there = storage.get_study_system_attrs(study._study_id).get(CONFIG_KEY)
            kept = None if there is None else read_config(there)
            if kept is not None:
                check_continues(kept, config)
            elif study.get_trials(deepcopy=False):
                allowed = f"{database} holds a study of that name which convnas did not make"
                raise InputError("name", config.name, allowed)
            config = settled(kept)
            storage.set_study_system_attr(
                study._study_id, CONFIG_KEY, config.model_dump(mode="json")
            )
            run.write_config(config)
            yield ledger, storage, config
    finally:
        storage.engine.dispose()
