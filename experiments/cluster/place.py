"""Where a study with many workers is: on PostgreSQL, or at a proxy in front of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.storages import BaseStorage, RDBStorage

from ...search_space.errors import InputError
from ..config.sections import Storage
from ..run.postgres import Database
from .ledger import CONFIG_KEY, Ledger, PostgresLedger

PROXY = "grpc://"


@dataclass(frozen=True)
class StudyPlace:
    """A study of ours and the ledger beside it. `config` is the one kept in the study."""

    storage: BaseStorage
    ledger: Ledger
    study: str
    study_id: int
    config: Mapping[str, Any]

    @property
    def settings(self) -> Storage:
        return Storage.model_validate(self.config["storage"])

    def close(self) -> None:
        if isinstance(self.storage, RDBStorage):
            self.storage.engine.dispose()
        else:
            getattr(self.storage, "close", lambda: None)()


def find(url: str, study: str | None = None) -> StudyPlace:
    """The study called `study` at `url`, or the only one there. Raises InputError."""
    if url.startswith(PROXY):
        from .grpc_proxy import connect

        storage: BaseStorage = connect(url)
    else:
        storage = Database.parse(url, key="STORAGE_URL").open()
    try:
        return _find(storage, url, study)
    except BaseException:
        if isinstance(storage, RDBStorage):
            storage.engine.dispose()
        raise


def _find(storage: BaseStorage, url: str, study: str | None) -> StudyPlace:
    ours = {s.study_name: s for s in storage.get_all_studies() if CONFIG_KEY in s.system_attrs}
    if study is None and len(ours) == 1:
        (study,) = ours
    if study is None or study not in ours:
        known = ", ".join(sorted(ours)) or "none; convnas launch makes one"
        key, value = ("--study", study) if study or ours else ("STORAGE_URL", url)
        raise InputError(key, value, f"studies there: {known}")
    found = ours[study]
    config = found.system_attrs[CONFIG_KEY]
    return StudyPlace(
        storage, _ledger(storage, found._study_id, config), study, found._study_id, config
    )


def _ledger(storage: BaseStorage, study_id: int, config: Mapping[str, Any]) -> Ledger:
    if isinstance(storage, RDBStorage):
        grace = Storage.model_validate(config["storage"]).grace
        return PostgresLedger(storage, study_id, grace=grace)
    from .grpc_proxy import ProxiedLedger

    return ProxiedLedger(storage, study_id)


def nodes_at(database: Database) -> list[dict[str, Any]]:
    """Who trains for a run's study now: node, number of its trial, seconds since it was heard.

    What has been silent for longer than the run's grace waits to be taken over.
    """
    place = find(database.url, database.study)
    try:
        return [
            {"node": node, "trial": number, "silent": round(age, 1)}
            for node, number, age in place.ledger.nodes()
        ]
    finally:
        place.close()
