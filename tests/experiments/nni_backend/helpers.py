"""What tests of runs under NNI share: a port of their own, eyes on the manager, its database."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import yaml

from convnas.tests.experiments.conftest import HERE, SCRIPTED, small

Json = Any


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Web:
    """A manager as a browser of its user's reaches it, once it has logged in."""

    def __init__(self, port: int) -> None:
        self.port, self.base = port, f"http://127.0.0.1:{port}"
        self.headers: dict[str, str] = {}

    def log_in(self, address: str) -> None:
        """By the address that convnas prints, which holds a token."""
        assert address.startswith(f"{self.base}/?token=")
        with urllib.request.urlopen(address, timeout=60) as answer:
            self.headers = {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}

    def read(self, path: str) -> bytes:
        request = urllib.request.Request(self.base + path, headers=self.headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bytes(answer.read())

    def get(self, route: str) -> Json:
        return json.loads(self.read(f"/api/v1/nni/{route}"))

    def status(self) -> str:
        try:
            return str(self.get("check-status")["status"])
        except (OSError, TypeError, ValueError):
            return "not there"

    def ask(
        self, method: str, path: str, body: Json = None, headers: dict[str, str] | None = None
    ) -> int:
        """The status code."""
        data = None if body is None else json.dumps(body).encode()
        head = {"Content-Type": "application/json", **self.headers, **(headers or {})}
        request = urllib.request.Request(self.base + path, data, head, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as e:
            return e.code


def scripted_config(
    folder: Path, evaluator: Mapping[str, Any] | None = None, **changes: Any
) -> Path:
    """A config whose evaluator is `scripted.py`, recording into `folder`."""
    settings = {"name": SCRIPTED, "record": str(folder / "record.txt"), **(evaluator or {})}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(small(evaluator=settings, **changes)))
    return path


def websocket(port: int, target: str, headers: Sequence[str]) -> bool:
    """Whether the server opens one there, rather than cut the connection."""
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    with socket.create_connection(("127.0.0.1", port), 30) as link:
        link.sendall("\r\n".join([*lines, "", ""]).encode())
        try:
            return link.recv(100).startswith(b"HTTP/1.1 101")
        except ConnectionError:
            return False


def launch(*argv: str, **environment: str) -> subprocess.Popen[str]:
    return convnas("launch", *argv, **environment)


def convnas(*argv: str, **environment: str) -> subprocess.Popen[str]:
    """The command in a process group of its own."""
    here = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "from convnas.experiments.cli import entry_point; entry_point()",
            *argv,
        ],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": here, **environment},
    )


def kill_all_of(run: Path) -> None:
    """Whatever a failed test has left."""
    for pid, _ in processes_of(run):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def trials_in_database(run: Path) -> dict[int, Json]:
    """NNI's number -> id, parameters, events and metrics, as its own database has them."""
    (path,) = (run / "nni").glob("*/db/nni.sqlite")
    found: dict[str, Json] = {}
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("select trialJobId, sequenceId, event, data from TrialJobEvent")
        for job, number, event, data in rows.fetchall():
            trial = found.setdefault(job, {"job": job, "events": [], "metrics": {}})
            trial["events"].append(event)
            if number is not None:
                trial["number"] = number
            if data:
                record = json.loads(data)
                trial["id"], trial["parameters"] = record["parameter_id"], record["parameters"]
        rows = database.execute(
            "select trialJobId, parameterId, type, sequence, data from MetricData"
        )
        for job, parameter, kind, sequence, data in rows.fetchall():
            value = json.loads(json.loads(data))
            found[job]["metrics"][kind, sequence] = (int(float(parameter)), value)
    return {trial["number"]: trial for trial in found.values()}


def spread(attrs: dict[str, Any], keys: Any) -> dict[str, Any]:
    """What NNI's parameters must be: the attributes of the study's trial, "-" where it has none."""
    return {key: attrs.get(key, "-") for key in keys}


def environment_of(pid: int) -> dict[str, str]:
    words = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(word.split("=", 1) for word in words if word)


def processes_of(run: Path) -> list[tuple[int, str]]:
    """Pid and command line of all processes whose arguments or environment name this run."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes()
            words = line + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(run).encode() in words and int(process.name) != os.getpid():
            found.append((int(process.name), line.replace(b"\0", b" ").decode()))
    return found
