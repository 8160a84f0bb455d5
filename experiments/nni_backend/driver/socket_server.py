"""A private Unix socket where a run's tuner and trials reach the process that launched it."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...workers.channel import Message

if TYPE_CHECKING:
    from typing_extensions import Self


class Connection:
    """To the tuner or a trial. `send` and `finish` may be called from any thread."""

    def __init__(self, end: socket.socket) -> None:
        self._end, self._rest = end, b""

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: Message) -> None:
        """Dropped where the other end is gone."""
        with suppress(OSError):
            self._end.sendall(json.dumps(message).encode() + b"\n")

    def finish(self, last: bytes = b"") -> None:
        """Send `last`, if anything, and close our half; the other end then closes its own."""
        with suppress(OSError):
            self._end.sendall(last)
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_WR)

    def receive(self) -> list[Message] | None:
        """The messages that are whole by now; None where the end is gone or speaks no JSON."""
        try:
            chunk = self._end.recv(65536)
        except OSError:
            return None
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            return None

    def close(self) -> None:
        self._end.close()


class SocketServer:
    """Hands `(connection, message)` to `receive` from its own thread; the last message is `over`.

    The socket lies in a folder that only this user can enter. `note`: a file that names this
    folder while it is there, so that the next server of the run takes away what a kill has left.
    """

    def __init__(self, receive: Callable[[Connection, Message], None], note: Path) -> None:
        self._receive, self._note = receive, note
        _remove_noted(note)
        # Not in the run directory: the path of a Unix socket is limited to about 100 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="convnas-"))
        note.write_text(str(self._folder))
        self.path = self._folder / "socket"
        self._listener = socket.socket(socket.AF_UNIX)
        self._selector = selectors.DefaultSelector()
        # A byte in it wakes the thread from its `select`, to end.
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._listener.bind(str(self.path))
        self._listener.listen(128)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._stop_read, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        os.write(self._stop_write, b"!")
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, Connection):
                key.data.close()
        self._selector.close()
        self._listener.close()
        os.close(self._stop_read)
        os.close(self._stop_write)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._note.unlink(missing_ok=True)

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    end, _ = self._listener.accept()
                    self._selector.register(end, selectors.EVENT_READ, Connection(end))
                elif isinstance(key.data, Connection):
                    self._listen(key.fileobj, key.data)
                else:
                    return

    def _listen(self, end: Any, connection: Connection) -> None:
        messages = connection.receive()
        for message in messages or []:
            self._receive(connection, message)
        if messages is None:
            self._selector.unregister(end)
            connection.close()
            self._receive(connection, {"kind": "over"})


def _remove_noted(note: Path) -> None:
    """The folder of a server that was killed. Nothing but a socket and an empty folder can go."""
    with suppress(OSError, ValueError):
        folder = Path(note.read_text())
        if folder.name.startswith("convnas-"):
            (folder / "socket").unlink(missing_ok=True)
            folder.rmdir()
