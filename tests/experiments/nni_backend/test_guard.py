"""The check after the start: a manager that is open, or lets strangers in, is no manager."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from convnas.experiments.errors import RunError
from convnas.experiments.nni_backend import guard

Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that refuses what `refuses` says, and gives its port."""
    servers = []

    def started(refuses: Callable[[str, str | None], bool], host: str = "127.0.0.1") -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.headers["Host"].partition(":")[0]
                refused = refuses(name, self.headers["Origin"])
                self.send_response(403 if refused else 200)
                self.end_headers()

            def log_message(self, *words: object) -> None:
                pass

        server = ThreadingHTTPServer((host, 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return int(server.server_address[1])

    yield started
    for server in servers:
        server.shutdown()
        server.server_close()


def test_one_that_refuses_strangers_on_loopback_passes(serve: Serve) -> None:
    guard.verify(serve(lambda host, origin: host != "127.0.0.1" or origin is not None))


def test_one_that_answers_a_foreign_host_or_origin_fails(serve: Serve) -> None:
    with pytest.raises(RunError, match="NNI answered a foreign Host with 200; it has been stopped"):
        guard.verify(serve(lambda host, origin: origin is not None))
    with pytest.raises(RunError, match="NNI answered a foreign Origin with 200"):
        guard.verify(serve(lambda host, origin: host != "127.0.0.1"))


def test_an_address_that_others_reach_is_seen(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's word on a real socket on loopback, and its line for one on every address."""
    port = serve(lambda host, origin: True)
    assert [str(address) for address in guard._listening(port)] == ["127.0.0.1"]
    open_to_all = "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n"
    read = Path.read_text

    def tables(path: Path, *args: object, **named: object) -> str:
        if str(path) == "/proc/net/tcp":
            return "  sl  local_address rem_address   st\n" + open_to_all
        return read(path)

    monkeypatch.setattr(Path, "read_text", tables)
    with pytest.raises(RunError, match=r"NNI listens on 0\.0\.0\.0, not only on 127\.0\.0\.1"):
        guard.verify(8080)
