"""A study on PostgreSQL: its address, which never holds a password, and how it is opened.

The password is PGPASSWORD or in ~/.pgpass, as for psql: libpq looks there by itself, so it passes
through no argument, config, log or process list of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...search_space.errors import InputError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

_ALLOWED = "it must be postgresql://USER@HOST:PORT/DATABASE"
_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_OPTION = re.compile(r"[A-Za-z_]+")
_MAKING = 0x636F6E76  # "conv": the advisory lock of whoever makes tables or a study


@dataclass(frozen=True)
class Database:
    """`url` is checked and has no password. `study` is the name of the study in it."""

    url: str
    study: str

    def __str__(self) -> str:
        return self.url

    @classmethod
    def parse(cls, text: str, study: str = "", *, key: str = "storage") -> Database:
        """Raises InputError, which repeats no more of `text` than its scheme.

        A password may stand anywhere in an address that is refused, under any spelling.
        """
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        scheme = _SCHEME.match(text)
        shown = f"{scheme[0] if scheme else ''}..."
        try:
            url = make_url(text)
        except (ArgumentError, ValueError):
            # Not chained: their words may repeat the password.
            raise InputError(key, shown, _ALLOWED) from None
        # SQLAlchemy has decoded the options' names: %6f is an o here.
        if url.password is not None or any("password" in name.lower() for name in url.query):
            allowed = (
                "a password does not belong in it, where logs and process lists show it; leave it "
                "out and set PGPASSWORD, or write it to ~/.pgpass, as for psql"
            )
            raise InputError(key, shown, allowed)
        if not all(_OPTION.fullmatch(name) for name in url.query):
            allowed = f"{_ALLOWED}, with options like ?sslmode=require; one has no name of letters"
            raise InputError(key, shown, allowed)
        if url.drivername not in _SCHEMES:
            allowed = f"{_ALLOWED}; without it the study is a file in the run directory"
            raise InputError(key, shown, allowed)
        if not url.database:
            raise InputError(key, shown, _ALLOWED)
        return cls(text, study)

    def open(
        self, *, create: bool = False, read_only: bool = False, connections: int = 5
    ) -> RDBStorage:
        """Optuna's storage. SQLAlchemy's errors where the server cannot be reached; InputError
        where psycopg is not installed or, without `create`, Optuna's tables are not there."""
        from optuna.storages import RDBStorage
        from sqlalchemy.engine import make_url

        connect: dict[str, Any] = {"application_name": "convnas", "connect_timeout": 20}
        if read_only:
            connect["options"] = "-c default_transaction_read_only=on"
        url = make_url(self.url).set(drivername="postgresql+psycopg").render_as_string()
        braces = url.replace("{", "{{").replace("}", "}}")  # Optuna formats it
        # A connection that the server has closed meanwhile is noticed and replaced.
        engine = {"pool_pre_ping": True, "pool_size": connections, "connect_args": connect}
        try:
            with self._looked(url, connect, create):
                return RDBStorage(braces, engine, skip_table_creation=not create)
        except ImportError as e:
            allowed = "it needs psycopg: pip install 'convnas[postgres]'"
            raise InputError("storage", self.url, allowed) from e

    @contextmanager
    def _looked(self, url: str, connect: dict[str, Any], create: bool) -> Iterator[None]:
        """With the tables there, or nobody else making them: Optuna's look and making are two."""
        from sqlalchemy import NullPool, create_engine, text

        # Without a pool the connection is closed at the end, and the server takes the lock back.
        engine = create_engine(url, poolclass=NullPool, connect_args=connect)
        with engine.connect() as connection:
            if create:
                connection.execute(text("SELECT pg_advisory_lock(:what)"), {"what": _MAKING})
            elif connection.execute(text("SELECT to_regclass('studies')")).scalar() is None:
                allowed = "it holds no study; convnas launch with this storage makes one"
                raise InputError("storage", self.url, allowed)
            yield
