"""A run of the tests says what it skipped, and how to have it."""

from __future__ import annotations

from convnas.tests.missing import said_of


def test_what_is_missing_is_counted_and_its_remedy_named() -> None:
    reasons = [
        "Skipped: no CUDA device",
        "Skipped: needs PostgreSQL's server: apt-get install postgresql",
        "Skipped: no CUDA device",
        "Skipped: could not import 'timm': No module named 'timm'",
        "Skipped: the moon is full",
    ]
    assert said_of(reasons) == [
        "2 tests skipped for want of a GPU: run them on a machine with one",
        "1 test skipped for want of a database server, for clusters: apt-get install postgresql",
        "1 test skipped for want of packages: pip install -e '.[test]'",
        "1 test skipped for want of the moon is full: not on this machine",
    ]
    assert said_of([]) == []
