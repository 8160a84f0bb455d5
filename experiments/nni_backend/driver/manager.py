"""NNI's manager as a child process: started guarded, spoken to, and ended with all it started."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...errors import RunError
from ..guard import guard_path, verify
from ..variables import SECRET, TOKEN, login

if TYPE_CHECKING:
    from typing_extensions import Self

START_LIMIT = 120.0
"""Seconds until the manager answers; it takes one or two where the machine is quiet."""

Action = Literal["create", "resume", "view"]


class Rest:
    """Requests to a manager on this machine. Not for several threads at once.

    secret: the run's [default: the one in this process's environment]. prefix: NNI's url_prefix,
    "/mine" for instance.
    """

    def __init__(
        self, port: int, secret: str | None = None, *, timeout: float = 30.0, prefix: str = ""
    ) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self._headers = {"Content-Type": "application/json", **login(secret)}
        self._prefix = prefix

    def request(self, method: str, path: str, body: object = None) -> Any:
        """The answer, parsed where it is JSON. OSError where there is none or it is a refusal."""
        try:
            return json.loads(self._answer(method, path, body))
        except ValueError:
            return None

    def text(self, path: str) -> str:
        """The answer as it is. OSError as in `request`."""
        return self._answer("GET", path, None).decode(errors="replace")

    def _answer(self, method: str, path: str, body: object) -> bytes:
        data = None if body is None else json.dumps(body)
        try:
            self._connection.request(method, path, data, self._headers)
            response = self._connection.getresponse()
            content = response.read()
        except http.client.HTTPException as e:
            # A connection with half an answer takes no request; a closed one opens again by itself.
            self._connection.close()
            raise OSError(f"{method} {path}: {e!r}") from e
        except OSError:
            self._connection.close()
            raise
        if response.status >= 400:
            raise OSError(f"{method} {path}: {response.status} {content[:200]!r}")
        return content

    def api(self, method: str, route: str, body: object = None) -> Any:
        """`request` to NNI's documented interface; `route` is what follows /api/v1/nni/."""
        return self.request(method, f"{self._prefix}/api/v1/nni/{route}", body)

    def close(self) -> None:
        self._connection.close()


class Manager:
    """A manager at `port` that keeps its files under `folder`; its words go to the file `log`.

    It runs in a session of its own, so that leaving the `with` block, however this process ends,
    ends its tuner and its trials too. Its secrets go through its environment; they are made here,
    unless `environment` has a secret.
    """

    def __init__(
        self, port: int, folder: Path, *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.port, self._folder, self._log = port, folder.absolute(), log
        self._environment = dict(environment or {})
        self._secret = self._environment.get(SECRET) or secrets.token_urlsafe(32)
        self._token = secrets.token_urlsafe(32)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where its pages are, for one browser, once. For people: it belongs in no log."""
        return f"http://127.0.0.1:{self.port}/?token={self._token}"

    def rest(self, timeout: float = 30.0) -> Rest:
        """A connection of its own."""
        return Rest(self.port, self._secret, timeout=timeout)

    def start(
        self, action: Action, name: str, profile: Mapping[str, Any], stop: Callable[[], bool]
    ) -> bool:
        """Start experiment `name`; False where `stop` said so meanwhile.

        Raises RunError where the manager does not start, or is not as closed as it must be.
        """
        self._register(name, profile)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    *_node(),
                    *("--port", str(self.port), "--experiment-id", name, "--action", action),
                    *("--experiments-directory", str(self._folder), "--log-level", "info"),
                    *("--python-interpreter", sys.executable),
                    *("--mode", str(profile["trainingService"]["platform"])),
                ],
                cwd=_node_folder(),
                stdin=subprocess.PIPE,  # closed when this process ends: the guard then ends all
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={
                    **os.environ,
                    "CONVNAS_NNI_OWNED": "1",
                    "CONVNAS_NNI_HOME": str(self._folder),
                    **self._environment,
                    SECRET: self._secret,
                    TOKEN: self._token,
                },
            )
        if not self._answers(stop):
            return False
        # Before there is an experiment: one that is open to others never runs ours.
        verify(self.port, self._secret)
        rest = self.rest(START_LIMIT)
        try:
            rest.api("POST", "experiment", profile)
        except OSError as e:
            raise RunError(f"NNI does not start the experiment: {e}; see {self._folder}") from e
        finally:
            rest.close()
        return True

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def reason(self) -> str:
        """Why it cannot use one of its machines; empty where it can."""
        with suppress(OSError):
            return " ".join((self._folder / "reason").read_text().split())
        return ""

    def stop(self) -> None:
        """Ask it to end, then see to it."""
        if self._process is None:
            return
        if self._process.poll() is None:
            # A view refuses, and has nothing to bring to an end.
            with suppress(OSError, subprocess.TimeoutExpired):
                rest = self.rest(timeout=5)
                rest.api("DELETE", "experiment")
                rest.close()
                self._process.wait(20)
        with suppress(ProcessLookupError):
            # The whole group: a tuner outlives a manager that was killed.
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _answers(self, stop: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + START_LIMIT
        while True:
            if stop():
                return False
            if self.exit_code is not None:
                raise RunError(f"NNI ended at its start with {self.exit_code}; see {self._log}")
            rest = self.rest()
            try:
                if isinstance(rest.api("GET", "check-status"), dict):
                    return True
            except OSError as e:
                if time.monotonic() > deadline:
                    raise RunError(f"NNI does not answer: {e}; see {self._log}") from e
            finally:
                rest.close()
            time.sleep(0.05)

    def _register(self, name: str, profile: Mapping[str, Any]) -> None:
        """The manager wants to find itself in the list of experiments."""
        entry = {
            "id": name,
            "port": self.port,
            "startTime": int(time.time() * 1000),
            "endTime": "N/A",
            "status": "INITIALIZED",
            "platform": profile["trainingService"]["platform"],
            "experimentName": profile["experimentName"],
            "tag": [],
            "pid": os.getpid(),
            "webuiUrl": [],
            "logDir": str(self._folder),
            "prefixUrl": None,
        }
        (self._folder / "nni-experiments").mkdir(parents=True, exist_ok=True)
        (self._folder / "nni-experiments" / ".experiment").write_text(json.dumps({name: entry}))


def _node_folder() -> Path:
    import nni_node

    return Path(nni_node.__path__[0])


def _node() -> list[str]:
    return [
        str(_node_folder() / "node"),
        *("--max-old-space-size=4096", "--require", str(guard_path())),
        str(_node_folder() / "main.js"),
    ]
