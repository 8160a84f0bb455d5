"""Optuna's dashboard over a run, live and for looking only.

By itself that dashboard deletes, renames and tells for anyone who reaches it. Here the study is
opened so that the database itself refuses to write; a browser gets in by a token in the address,
once, and then by a cookie; and what is answered is a list of pages, in exactly one spelling each.
"""

from __future__ import annotations

import hmac
import re
import secrets
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

# What follows a page's question mark (`?numbers=3`) is read in the browser alone.
_OPEN = re.compile(
    r"/|/dashboard(/[\w/-]*)?(\?[\w=&,.%-]*)?|/favicon\.ico|/static/[\w.-]+"
    r"|/api/meta|/api/studies|/api/studies/\d+(\?after=\d+)?|/csv/\d+(\?trial_ids=[\d,]*)?"
    r"|/api/studies/\d+/(param_importances|plot/\w+)"
)


def show(
    run: RunDirectory,
    host: str,
    port: int,
    announce: Callable[[str], None],
    stop: Callable[[], bool],
) -> None:
    """Serve the dashboard of `run` at `port` until `stop` says so.

    `announce` takes the address, which lets one browser in, once. Raises InputError where `host` is
    another machine, the port is taken, there is no study, or optuna-dashboard is not installed.
    """
    check_place(host, port, "the dashboard is kept to this machine")
    records.read_all(run.study)  # its own pages would end in a traceback of ours
    storage = records.open_to_read(run.study)
    try:
        token = secrets.token_urlsafe(32)
        app = Guarded(_app(storage), port, token)
        with make_server("127.0.0.1", port, app, _Server, _Handler) as server:
            serving = threading.Thread(target=server.serve_forever, daemon=True)
            serving.start()
            announce(f"http://127.0.0.1:{port}/?token={token}")
            while not stop():
                time.sleep(_LOOK)
            server.shutdown()
            serving.join()
    finally:
        storage.engine.dispose()


class Guarded:
    """`app` without what changes something, and for the browser that came with the token."""

    def __init__(self, app: WSGIApplication, port: int, token: str) -> None:
        self._app = app
        self._token: str | None = token
        self._lock = threading.Lock()
        # Browsers share cookies among a host's ports: the name tells two dashboards apart.
        self._cookie = f"convnas-{port}", secrets.token_urlsafe(32)

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET":
            return _refuse(start, "this dashboard is for looking only: nothing can be changed")
        if _strange(environ):
            return _refuse(start, "it comes from another site, or names another machine")
        target = environ["convnas.target"]
        known = self._knows(environ.get("HTTP_COOKIE", ""))
        if target.startswith("/?token="):
            if known or self._take(target.removeprefix("/?token=")):
                return self._welcome(start)
            return _refuse(start, "this address has been used, or is another dashboard's")
        if not known:
            return _refuse(start, "log in with the address that convnas has printed")
        if not _OPEN.fullmatch(target):
            return _refuse(start, "there is no such page")
        return self._app(environ, start)

    def _take(self, token: str) -> bool:
        # Requests come in threads, and the token must let one of them in, not two.
        with self._lock:
            right = self._token is not None and _same(token, self._token)
            if right:
                self._token = None
            return right

    def _knows(self, header: str) -> bool:
        name, value = self._cookie
        given = (each.strip().partition("=") for each in header.split(";"))
        return any(key == name and _same(word, value) for key, _, word in given)

    def _welcome(self, start: StartResponse) -> Iterable[bytes]:
        name, value = self._cookie
        headers = [
            ("Content-Type", "text/html"),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("Set-Cookie", f"{name}={value}; HttpOnly; SameSite=Strict; Path=/"),
        ]
        start("200 OK", headers)
        # The page's own move: after a redirection from a link elsewhere the cookie is not shown.
        return [b'<!doctype html><meta http-equiv="refresh" content="0; url=/dashboard">']


def _strange(environ: WSGIEnvironment) -> bool:
    """Whether the request cannot be the dashboard's own page's, or somebody's visit."""
    host, origin = environ.get("HTTP_HOST"), environ.get("HTTP_ORIGIN")
    # A stranger's name that leads to 127.0.0.1 (DNS rebinding) is refused here.
    if host is None or not re.fullmatch(r"(127\.0\.0\.1|localhost)(:\d{1,5})?", host):
        return True
    site = environ.get("HTTP_SEC_FETCH_SITE")
    visit = [environ.get(f"HTTP_SEC_FETCH_{word}") for word in ("MODE", "DEST")]
    own = site in (None, "same-origin", "none") or visit == ["navigate", "document"]
    return not own or origin not in (None, f"http://{host}")


def _same(one: str, other: str) -> bool:
    """In a time that tells nothing; as bytes, since text beyond ASCII would raise."""
    return hmac.compare_digest(one.encode(), other.encode())


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


class _Handler(WSGIRequestHandler):
    def get_environ(self) -> WSGIEnvironment:
        # As it was sent: PATH_INFO is decoded, "%2F" in it is a slash, and so is "//" at its start.
        return {**super().get_environ(), "convnas.target": self.requestline.split()[1]}

    def log_message(self, format: str, *args: Any) -> None:
        pass
