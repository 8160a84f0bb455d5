"""How the parent and its workers talk: one JSON object a line over a private socket.

JSON, so that nothing a worker says can run code in the parent. Not-a-number and infinity travel as
Python's json writes them.
"""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

Message = dict[str, Any]


class Channel:
    """One end of the conversation. `send` may be called from any thread, the rest from one."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._rest = b""
        self._sending = threading.Lock()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, kind: str, **content: Any) -> None:
        """Raises OSError when the other end is gone."""
        line = json.dumps({"kind": kind, **content}).encode() + b"\n"
        with self._sending:
            self._socket.sendall(line)

    def receive(self) -> list[Message] | None:
        """Wait for bytes and return the messages they complete; None when the other end is gone."""
        try:
            chunk = self._socket.recv(65536)
        except ConnectionError:
            return None
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        self._socket.close()
