"""The folder of a run's socket goes with it, also after a kill, and no other folder does."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from convnas.experiments.nni_backend.driver.socket_server import SocketServer


@pytest.mark.parametrize(
    ("name", "more", "stays"),
    [("convnas-killed", (), False), ("convnas-else", ("file",), True), ("mine", (), True)],
)
def test_only_the_folder_that_a_killed_server_left_is_taken_away(
    tmp_path: Path, name: str, more: tuple[str, ...], stays: bool
) -> None:
    left, note = tmp_path / name, tmp_path / ".socket"
    left.mkdir()
    for each in more:
        (left / each).touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(left / "socket"))
    note.write_text(str(left))
    with SocketServer(lambda connection, message: None, note) as server:
        assert left.exists() == stays
        assert server.path.parent == Path(note.read_text())
    assert not note.exists()
    assert not server.path.parent.exists()
