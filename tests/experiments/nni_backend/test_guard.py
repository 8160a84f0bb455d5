"""The check after the start: a manager that is open, or lets strangers in, is no manager."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests.utils

from convnas.experiments.errors import RunError
from convnas.experiments.nni_backend import guard, variables

Serve = Callable[..., int]
SECRET = "the-runs-own-secret"
LOGIN = variables.login(SECRET)["Authorization"]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that gives what `answer` says, and returns its port."""
    servers = []

    def started(answer: Callable[[str, str | None, bool], int]) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.headers["Host"].partition(":")[0]
                known = self.headers["Authorization"] == LOGIN
                self.send_response(answer(name, self.headers["Origin"], known))
                self.end_headers()

            def log_message(self, *words: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        # The end, too, is noticed at each poll.
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return int(server.server_address[1])

    yield started
    for server in servers:
        server.shutdown()
        server.server_close()


def closed(host: str, origin: str | None, known: bool) -> int:
    return 200 if known and host == "127.0.0.1" and origin is None else 403


def test_one_that_refuses_strangers_on_loopback_passes(serve: Serve) -> None:
    guard.verify(serve(closed), SECRET)


@pytest.mark.parametrize("status", [200, 204, 302, 400, 401, 404, 500])
@pytest.mark.parametrize("whom", ["a foreign Host", "a foreign Origin", "somebody without"])
def test_whatever_else_than_a_refusal_a_stranger_gets_the_manager_is_open(
    serve: Serve, whom: str, status: int
) -> None:
    """An error page too comes from NNI itself, past the guard."""

    def answer(host: str, origin: str | None, known: bool) -> int:
        who = {
            "a foreign Host": known and host == "example.org",
            "a foreign Origin": known and origin == "http://example.org",
            "somebody without": not known and host == "127.0.0.1" and origin is None,
        }
        return status if who[whom] else closed(host, origin, known)

    with pytest.raises(RunError, match=f"NNI answered {whom}.* with {status}; it has been stopped"):
        guard.verify(serve(answer), SECRET)


OPEN_TO_ALL = {
    "tcp": ("00000000", r"0\.0\.0\.0"),
    "tcp6": ("0" * 32, "::"),
}


@pytest.mark.parametrize("table", OPEN_TO_ALL)
def test_an_address_that_others_reach_is_seen(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """The kernel's word on a real socket on loopback, and its line for one on every address."""
    port = serve(closed)
    assert [str(address) for address in guard._listening(port)] == ["127.0.0.1"]
    address, shown = OPEN_TO_ALL[table]
    line = f"   0: {address}:1F90 {address}:0000 0A 00000000:00000000 00:00000000 00000000\n"
    read = Path.read_text

    def tables(path: Path, *args: object, **named: object) -> str:
        if str(path) == f"/proc/net/{table}":
            return "  sl  local_address rem_address   st\n" + line
        return read(path)

    monkeypatch.setattr(Path, "read_text", tables)
    with pytest.raises(RunError, match=rf"NNI listens on {shown}, not only on 127\.0\.0\.1"):
        guard.verify(8080, SECRET)


def test_a_guarded_shell_keeps_its_secret_in_a_file_of_its_users_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {"XDG_RUNTIME_DIR": str(tmp_path), "NODE_OPTIONS": "-x"}
    exports, token = guard.guarded_shell(there)
    path = Path(exports["NETRC"])
    assert path.parent == tmp_path
    assert path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("NETRC", str(path))
    for host in ("localhost", "127.0.0.1"):
        known = requests.utils.get_netrc_auth(f"http://{host}:8080/api/v1/nni/check-status")
        assert known == ("convnas", exports[variables.SECRET])
    assert exports["NODE_OPTIONS"] == f'-x --require "{guard.guard_path()}"'
    assert token == exports[variables.TOKEN]
    again, other = guard.guarded_shell(exports)
    assert again[variables.SECRET] == exports[variables.SECRET]
    assert again["NETRC"] == str(path)
    assert other != token
    path.unlink()
    assert guard.guarded_shell(exports)[0][variables.SECRET] != exports[variables.SECRET]
