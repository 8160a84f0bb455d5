"""Fixtures of the fuzz tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from convnas.tests.experiments.commands.fuzzing import Room


@pytest.fixture
def room(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    folder = tmp_path / "room"
    folder.mkdir()
    shutil.move(run, folder / "run")
    monkeypatch.chdir(folder)
    return Room(folder)
