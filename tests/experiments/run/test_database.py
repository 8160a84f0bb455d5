"""The address of a database: what is refused, and that a password is never repeated."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from convnas.experiments.cli import main
from convnas.experiments.run.postgres import Database
from convnas.search_space import InputError
from convnas.tests.experiments.conftest import small

SECRET = "s3cret"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@host/db",
        "postgresql://me@host:5433/db?sslmode=require",
        "postgresql+psycopg:///db",
        "postgres://host/db",
    ],
)
def test_an_address_without_a_password_is_kept_as_it_is(url: str) -> None:
    assert str(Database.parse(url, "mine")) == url


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@host/db",
        f"postgresql://me:{SECRET}/x@host/db",
        f"postgresql://me:@{SECRET}@host/db",
        f"postgresql://me@host/db?password={SECRET}",
        f"postgresql://me@host/db?sslmode=require&PASSWORD={SECRET}",
        f"postgresql://me:{SECRET}@[host:port/db",
        f"mysql://me:{SECRET}@host/db",
        f"postgresql//me:{SECRET}@host/db",
        f"postgresql://me@host/db?passw%6frd={SECRET}",
        f"postgresql://me@host/db?%70%61%73%73%77%6F%72%64={SECRET}",
        f"postgresql://me@host/db?passw%256frd={SECRET}",
        f"postgresql://me@host/db?passw%00ord={SECRET}",
        f"postgresql://me@host/db?ssl%70assword={SECRET}",
        f"postgresql://me@host/?token={SECRET}",
    ],
)
def test_a_password_is_refused_in_one_line_that_does_not_repeat_it(
    url: str, write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    for argv in (
        ["launch", write(small(storage=url))],
        ["launch", write(small(storage={"url": url, "grace": 100}))],
        ["worker", url],
        ["proxy", url],
    ):
        assert main(argv) == 2
        out, err = capsys.readouterr()
        assert SECRET not in out + err
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("sqlite:///here.db", "postgresql://USER@HOST"),
        ("postgresql://host", "postgresql://USER@HOST"),
        ("", "postgresql://USER@HOST"),
        ({"url": "postgresql://h/db", "grace": 10, "heartbeat": 6}, "at least twice"),
        ({"url": "postgresql://h/db", "pasword": SECRET}, "known keys: grace, heartbeat, url"),
        ({"grace": 10}, "storage.url"),
    ],
)
def test_wrong_storage_is_wrong_input(
    storage: object, said: str, write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["space", write(small(storage=storage))]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert SECRET not in err


def test_nni_runs_on_one_machine(
    write: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(small(storage="postgresql://h/db"))
    assert main(["launch", config, "--backend", "nni"]) == 2
    assert "backend.name" in capsys.readouterr().err


def test_a_run_whose_study_is_a_file_says_how_to_have_several_machines(
    finished: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["worker", str(finished)]) == 2
    assert "storage: postgresql://" in capsys.readouterr().err


def test_without_the_driver_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError, match=r"pip install 'convnas\[postgres\]'"):
        Database.parse("postgresql://me@127.0.0.1:1/db").open()


def test_a_server_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("psycopg", reason="needs psycopg")
    assert main(["worker", "postgresql://me@127.0.0.1:1/db"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "postgresql://me@127.0.0.1:1/db cannot be used" in line
