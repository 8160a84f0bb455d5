"""A launch whose study is on PostgreSQL: made there with its config in it, for workers anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.storages import RDBStorage

from ...search_space.errors import InputError
from ..config.schema import ExperimentConfig, check_continues, parse_config
from ..run import study as records
from ..run.directory import RunDirectory
from ..run.postgres import Database
from ..run.soundness import sound_trials
from ..search.local_backend import facts_of, slots_here
from ..search.prepare import Prepared
from ..search.session import Session
from ..search.zero_cost_fit import Settled
from ..workers.dispatch import Ending
from .claim_loop import take_part
from .ledger import CONFIG_KEY, PostgresLedger


class ClusterBackend:
    """This machine trains as one node among many, and shows what all of them make."""

    trains_here = True
    slots = staticmethod(slots_here)

    @contextmanager
    def study(
        self, run: RunDirectory, config: ExperimentConfig, settled: Settled
    ) -> Iterator[tuple[RDBStorage, Prepared]]:
        """Raises InputError where the study is another experiment's, or another launch uses it."""
        assert config.storage is not None
        # Before the database is touched: a config that does not fit this run leaves nothing there.
        if run.exists:
            check_continues(run.read_config(), config)
        database = Database.parse(config.storage.url, config.name, key="storage.url")
        records.create_study(database, config.name, config.objectives, facts_of(config))
        storage = database.open()
        try:
            PostgresLedger.make_table(storage)
            study = records.study_at(storage, database)
            self._ledger = ledger = PostgresLedger(
                storage, study._study_id, grace=config.storage.grace
            )
            with ledger.launching() as is_only:
                if not is_only:
                    allowed = (
                        f"another launch is using its study {config.name!r}; let this machine help "
                        f"with: convnas worker '{database}' --study {config.name}"
                    )
                    raise InputError("storage", str(database), allowed)
                there = storage.get_study_system_attrs(study._study_id).get(CONFIG_KEY)
                kept = None if there is None else parse_config(there)
                if kept is not None:
                    check_continues(kept, config)
                elif study.get_trials(deepcopy=False):
                    # No config in it, and yet trials: one made just now would have none.
                    allowed = f"{database} holds a study of that name which convnas did not make"
                    raise InputError("name", config.name, allowed)
                sound_trials(study, database)
                prepared = settled(kept)
                storage.set_study_system_attr(
                    study._study_id, CONFIG_KEY, prepared.config.model_dump(mode="json")
                )
                run.write_config(prepared.config)
                yield storage, prepared
        finally:
            storage.engine.dispose()

    def search(self, run: RunDirectory, session: Session, slots: list[str]) -> Ending:
        return take_part(session, self._ledger, follow=True)
