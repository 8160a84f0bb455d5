"""A server for all tests of this folder, and an empty database for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from convnas.tests.experiments.cluster.postgres import Server, programs


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="needs psycopg")
    if programs() is None:
        pytest.skip("needs PostgreSQL's server: apt-get install postgresql")
    with Server() as server:
        yield server


@pytest.fixture
def url(server: Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database; its password is in the environment."""
    monkeypatch.setenv("PGPASSWORD", server.password)
    return server.new_database()
