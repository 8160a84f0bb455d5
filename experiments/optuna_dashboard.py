"""Optuna's dashboard over a run, live and for looking only.

By itself that dashboard deletes, renames and tells for anyone who reaches it. Here the study is
opened so that the database itself refuses to write, every request but GET and HEAD is refused, and
so is one that names another host, as a page in somebody's browser would to get at it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna

from ..search_space.errors import InputError
from .ports import check_place
from .run import study as records
from .run.directory import RunDirectory

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_LOOK = 0.2
"""Seconds between two looks at whether it is to end."""


def show(
    run: RunDirectory,
    host: str,
    port: int,
    announce: Callable[[str], None],
    stop: Callable[[], bool],
) -> None:
    """Serve the dashboard of `run` at `port` until `stop` says so.

    Raises InputError where `host` is another machine, the port is taken, there is no study, or
    optuna-dashboard is not installed.
    """
    check_place(host, port, "the dashboard has no login")
    storage = records.open_to_read(run.study)
    try:
        app = read_only(_app(storage), port)
        with make_server("127.0.0.1", port, app, _Server, _QuietHandler) as server:
            serving = threading.Thread(target=server.serve_forever, daemon=True)
            serving.start()
            announce(f"http://127.0.0.1:{port}")
            while not stop():
                time.sleep(_LOOK)
            server.shutdown()
            serving.join()
    finally:
        storage.engine.dispose()


def read_only(app: WSGIApplication, port: int) -> WSGIApplication:
    """`app` without anything that changes something, and for requests to this machine only."""
    ours = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}

    def guarded(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _refuse(start, "this dashboard is for looking only: nothing can be changed")
        if environ.get("HTTP_HOST") not in ours:
            return _refuse(start, f"this is http://127.0.0.1:{port}, and nothing else")
        return app(environ, start)

    return guarded


def _refuse(start: StartResponse, reason: str) -> Iterable[bytes]:
    status = HTTPStatus.FORBIDDEN
    start(f"{status.value} {status.phrase}", [("Content-Type", "application/json")])
    return [b'{"reason": "%s"}' % reason.encode()]


def _app(storage: optuna.storages.RDBStorage) -> Any:
    try:
        import optuna_dashboard
    except ImportError as e:
        allowed = "it needs optuna-dashboard: pip install 'convnas[dashboard]' (or use --nni)"
        raise InputError("dashboard", "optuna", allowed) from e
    return optuna_dashboard.wsgi(storage)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass
