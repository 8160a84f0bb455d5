"""How the parent and its workers talk: one JSON object a line over a private socket.

JSON, so that nothing a worker says can run code in the parent. Not-a-number and infinity travel as
Python's json writes them.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]


class Channel:
    """One end of a conversation; open files can be handed over with a message."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._rest = b""
        self.files: list[int] = []
        """Descriptors received and not yet taken, in the order of the messages they came with."""

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, kind: str, *, files: Sequence[int] = (), **content: Any) -> None:
        """Raises OSError when the other end is gone."""
        line = json.dumps({"kind": kind, **content}).encode() + b"\n"
        if files:
            # The descriptors go with the first bytes; what was not taken with them follows.
            line = line[socket.send_fds(self._socket, [line], files) :]
        self._socket.sendall(line)

    def receive(self) -> list[Message] | None:
        """Wait for bytes and return the messages they complete; None when the other end is gone."""
        try:
            chunk, files, _, _ = socket.recv_fds(self._socket, 65536, 16)
        except ConnectionError:
            return None
        self.files += files
        if not chunk:
            return None
        # What follows the last newline is the beginning of a message still on its way.
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        self._socket.close()
