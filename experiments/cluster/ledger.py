"""Who may train what: one row a trial in a table beside Optuna's, with a unique index on the key.

Reading the study before asking is a race, and a heartbeat that fails a trial would spend its
number. So a trial is taken (never one too many), its architecture is claimed, and the claim is
kept alive, each in one statement or transaction of the database. A claim that is no longer kept
alive is taken over: the trial is trained again under its own number. Optuna's own heartbeats are
left alone, as `fail_stale_trials` would end such trials, and its gRPC proxy does not know them.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy import text

CONFIG_KEY = "convnas:config"
"""The study's system attribute that holds the config."""

# The first of the two keys of an advisory lock, "conv" and "conw" in ASCII; the second is the
# study's id.
_LAUNCHING, _TAKING = 0x636F6E76, 0x636F6E77

_TABLE = """
CREATE TABLE IF NOT EXISTS convnas_claims (
    trial_id integer PRIMARY KEY REFERENCES trials (trial_id) ON DELETE CASCADE,
    study_id integer NOT NULL,
    key text,
    node text NOT NULL,
    beat timestamptz NOT NULL DEFAULT now(),
    UNIQUE (study_id, key)
)"""

# What was claimed by a node that has fallen silent, or was taken by one that died before it could
# write its claim down.
# The age is asked for again at the conflict, since a heartbeat, which takes no lock of ours, may
# have come in between. A node does not take over its own trials: it trains them still.
_TAKE_OVER = """
INSERT INTO convnas_claims (trial_id, study_id, node)
SELECT t.trial_id, t.study_id, :node FROM trials t
LEFT JOIN convnas_claims c ON c.trial_id = t.trial_id
WHERE t.study_id = :study AND t.state = 'RUNNING'
AND (c.trial_id IS NULL OR c.beat < now() - :grace * interval '1 second' AND c.node <> :node)
ORDER BY t.trial_id LIMIT 1
ON CONFLICT (trial_id) DO UPDATE SET node = :node, beat = now()
WHERE convnas_claims.beat < now() - :grace * interval '1 second'
RETURNING trial_id"""

# A waiting trial counts once it is taken, which starts it.
_COUNT = "SELECT count(*) FROM trials WHERE study_id = :study AND state <> 'WAITING'"

# A claim holds its architecture for good, also when its trial is over; a running trial without
# one is about to claim.
_HELD = """
SELECT count(*) FROM convnas_claims c JOIN trials t USING (trial_id)
WHERE c.study_id = :study AND (c.key IS NOT NULL OR t.state = 'RUNNING')"""

_WAITING = """
UPDATE trials SET state = 'RUNNING', datetime_start = now() WHERE trial_id = (
    SELECT trial_id FROM trials WHERE study_id = :study AND state = 'WAITING'
    ORDER BY trial_id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING trial_id"""

_NODES = """
SELECT c.node, t.number, extract(epoch FROM now() - c.beat) FROM convnas_claims c
JOIN trials t USING (trial_id) WHERE c.study_id = :study AND t.state = 'RUNNING'
ORDER BY t.number"""


class Lost(Exception):
    """The trial has been taken over by another node, which takes this one for dead."""


@dataclass(frozen=True)
class Taken:
    """A trial to train, by its id in the storage; None where there is none to take now.

    again: True where another node had begun this trial. exhausted: True where every architecture is
    held by some trial.
    """

    trial_id: int | None
    again: bool = False
    exhausted: bool = False


class Ledger(Protocol):
    """What a node asks of the table; here, or at the other end of the proxy."""

    def take(self, node: str, wanted: int, points: int | None) -> Taken:
        """A trial for `node`: one that was left, else a new one while there are fewer than `wanted`
        in all, and fewer held than the `points` that there are (None: very many)."""

    def claim(self, node: str, trial_id: int, key: str) -> bool:
        """Whether the architecture is this trial's, now and for good. Raises Lost."""

    def keep(self, node: str, trial_ids: Collection[int]) -> set[int]:
        """Say that the node is alive; those of its trials that are still its own."""

    def release(self, node: str, trial_ids: Collection[int]) -> None:
        """Give trials up, for others to take over at once."""

    def counts(self) -> dict[str, int]:
        """Trials by Optuna's name of their state."""

    def nodes(self) -> list[tuple[str, int, float]]:
        """Node, number of the trial that it trains, and seconds since it said that it is alive."""


class PostgresLedger:
    """The table itself. `grace`: seconds of silence after which a trial is taken over."""

    def __init__(self, storage: RDBStorage, study_id: int, *, grace: float) -> None:
        self._storage, self._study = storage, {"study": study_id}
        self._begin = storage.engine.begin
        self._grace = grace
        # The proxy's threads wait for each other here, and not each with a connection in hand.
        self._taking = threading.Lock()

    @staticmethod
    def make_table(storage: RDBStorage) -> None:
        """Make the table where it is not there. It refers to Optuna's, which must be."""
        with storage.engine.begin() as connection:
            connection.execute(text(_TABLE))

    @contextmanager
    def launching(self) -> Iterator[bool]:
        """Whether this is the only launch on the study; given back however the process ends."""
        where = {"what": _LAUNCHING, **self._study}
        with self._storage.engine.connect() as connection:
            # The lock is the connection's and outlives the transaction, which is not left open.
            asked = text("SELECT pg_try_advisory_lock(:what, :study)")
            is_only = bool(connection.execute(asked, where).scalar())
            connection.commit()
            try:
                yield is_only
            finally:
                if is_only:
                    connection.execute(text("SELECT pg_advisory_unlock(:what, :study)"), where)
                    connection.commit()

    def take(self, node: str, wanted: int, points: int | None) -> Taken:
        mine = {"node": node, **self._study}
        with self._taking, self._begin() as connection:

            def ask(statement: str, **more: object) -> int | None:
                found = connection.execute(text(statement), {**self._study, **more}).scalar()
                return None if found is None else int(found)

            # One after another, so that what is counted stays true until the trial is there.
            connection.execute(
                text("SELECT pg_advisory_xact_lock(:what, :study)"),
                {"what": _TAKING, **self._study},
            )
            left = ask(_TAKE_OVER, node=node, grace=self._grace)
            if left is not None:
                return Taken(left, again=True)
            made = ask(_COUNT) or 0
            if made >= wanted:
                return Taken(None)
            # No more are held than made: the join is asked for near the end of a space only.
            if points is not None and made >= points and (ask(_HELD) or 0) >= points:
                return Taken(None, exhausted=True)
            trial_id = ask(_WAITING)
            if trial_id is None:
                # Through a connection of its own: were this one cut off now, the trial would be
                # one without a row, and be taken over.
                trial_id = self._storage.create_new_trial(self._study["study"])
            connection.execute(
                text(
                    "INSERT INTO convnas_claims (trial_id, study_id, node)"
                    " VALUES (:trial, :study, :node)"
                ),
                {"trial": trial_id, **mine},
            )
            return Taken(trial_id)

    def claim(self, node: str, trial_id: int, key: str) -> bool:
        statement = text(
            "UPDATE convnas_claims SET key = :key, beat = now()"
            " WHERE trial_id = :trial AND node = :node"
        )
        try:
            with self._begin() as connection:
                done = connection.execute(statement, {"key": key, "trial": trial_id, "node": node})
        except sqlalchemy.exc.IntegrityError:
            # The unique index: another trial has this architecture.
            return False
        if done.rowcount == 0:
            raise Lost(trial_id)
        return True

    def keep(self, node: str, trial_ids: Collection[int]) -> set[int]:
        statement = text(
            "UPDATE convnas_claims SET beat = now()"
            " WHERE node = :node AND trial_id = ANY(:trials) RETURNING trial_id"
        )
        with self._begin() as connection:
            rows = connection.execute(statement, {"node": node, "trials": list(trial_ids)})
            return {int(row[0]) for row in rows}

    def release(self, node: str, trial_ids: Collection[int]) -> None:
        statement = text(
            # 1970 is longer ago than any grace.
            "UPDATE convnas_claims SET beat = 'epoch'"
            " WHERE node = :node AND trial_id = ANY(:trials)"
        )
        with self._begin() as connection:
            connection.execute(statement, {"node": node, "trials": list(trial_ids)})

    def counts(self) -> dict[str, int]:
        statement = text(
            "SELECT state::text, count(*) FROM trials WHERE study_id = :study GROUP BY state"
        )
        with self._begin() as connection:
            return {str(state): int(n) for state, n in connection.execute(statement, self._study)}

    def nodes(self) -> list[tuple[str, int, float]]:
        with self._begin() as connection:
            rows = connection.execute(text(_NODES), self._study)
            return [(str(node), int(number), float(age)) for node, number, age in rows]
