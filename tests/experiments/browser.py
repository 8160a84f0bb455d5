"""A headless Chromium, spoken to over its own debugging protocol."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

if TYPE_CHECKING:
    from typing_extensions import Self

_BLANK = "about:blank"

LIMIT = 120.0
"""Seconds until what is looked for must be there."""


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """One page at `url`; `folder` becomes the browser's home.

    headers: `Cookie`, as the site that has set it would get it back.
    """

    def __init__(self, url: str, folder: Path, headers: Mapping[str, str] | None = None) -> None:
        self._url, self._folder, self._headers = url, folder, headers or {}
        self._numbers = itertools.count(1)
        self._stack = ExitStack()
        self._link: ClientConnection

    def __enter__(self) -> Self:
        command = chromium()
        assert command is not None
        self._process = subprocess.Popen(
            [
                *(command, "--headless=new", "--no-sandbox", "--disable-gpu"),
                *("--disable-dev-shm-usage", "--window-size=1400,1000"),
                *("--remote-debugging-port=0", f"--user-data-dir={self._folder}", _BLANK),
            ],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with self._stack as stack:
            stack.callback(self._kill)
            link = connect(self._page_address(), max_size=None, proxy=None)
            self._link = stack.enter_context(link)
            if "Cookie" in self._headers:
                name, _, value = self._headers["Cookie"].partition("=")
                cookie = {"name": name, "value": value, "url": self._url, "httpOnly": True}
                self._call("Network.setCookie", {**cookie, "sameSite": "Strict"})
            self._call("Page.navigate", {"url": self._url})
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        settings = {"expression": script, "returnByValue": True, "awaitPromise": True}
        return self._call("Runtime.evaluate", settings)["result"].get("value")

    def _call(self, method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        self._link.send(json.dumps({"id": number, "method": method, "params": settings}))
        while True:
            answer = json.loads(self._link.recv(timeout=LIMIT))
            if answer.get("id") == number:
                return dict(answer["result"])

    def wait_for(self, script: str) -> Any:
        """The first value of `script` that is true."""
        deadline = time.monotonic() + LIMIT
        while not (value := self.evaluate(script)):
            text = self.evaluate("document.body.innerText")
            assert time.monotonic() < deadline, f"never {script}, but {text}"
            time.sleep(0.1)
        return value

    def _page_address(self) -> str:
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            with suppress(OSError, ValueError, IndexError, StopIteration):
                port = (self._folder / "DevToolsActivePort").read_text().split()[0]
                with urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
                    targets = json.loads(answer.read())
                page = next(t for t in targets if t["type"] == "page" and t["url"] == _BLANK)
                return str(page["webSocketDebuggerUrl"])
            time.sleep(0.1)
        raise AssertionError("chromium did not start")

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
