"""How a trial speaks to NNI: HTTP to the address in its environment, without importing nni."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from ...errors import RunError
from ..variables import login

_KNOWN_LIMIT = 60.0
"""Seconds in which NNI's record must know a trial that it has started."""

_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Past the proxies that the environment may name, which may not reach NNI."""


class NNIGone(RunError):
    """NNI's manager has ended; what the trial has reached is for its next start."""


class TrialChannel:
    """`url` is NNI's channel for trial `job`: http://localhost:8080/env/local-env/JOB."""

    def __init__(self, url: str, job: str) -> None:
        self._url, self._job = url, job
        self._manager = url.rpartition("/env/")[0] + "/api/v1/nni"
        self._sequence = 0

    @classmethod
    def here(cls) -> TrialChannel | None:
        """None in a process that NNI has not started."""
        url = os.environ.get("NNI_TRIAL_COMMAND_CHANNEL")
        return cls(url, os.environ["NNI_TRIAL_JOB_ID"]) if url else None

    def record(self) -> dict[str, Any]:
        """This trial's own parameters, with their id, as NNI's pages and its database have them.

        NNI hands out parameters from one queue, to whichever trial asks first; so one entry is
        taken from the queue, to keep it short, and the record is asked instead. Where the manager
        is on another machine that queue is all there is. Raises RunError.
        """
        self._send({"type": "request_parameter"})
        # 408: NNI has nothing in its queue yet.
        while (status_and_text := self._ask("GET", self._url))[0] == 408:
            pass
        status, text = status_and_text
        if status != 200:
            raise NNIGone(f"NNI gives no parameters (status {status}); it is ending")
        taken: dict[str, Any] = json.loads(json.loads(text)["parameter"])
        record = self._recorded() if self._manages() else taken
        if "nni" in sys.modules:
            # For a script that asks or reports through nni as well.
            sys.modules["nni"].trial._params = record
        return record

    def class_args(self) -> dict[str, Any]:
        """The tuner's arguments; empty where the manager is on another machine."""
        status, text = self._ask("GET", f"{self._manager}/experiment")
        if status != 200:
            return {}
        args: dict[str, Any] = json.loads(text)["params"].get("tuner", {}).get("classArgs") or {}
        return args

    def report(self, number: int, kind: str, value: Any) -> None:
        """`kind` is PERIODICAL, once an epoch, or FINAL."""
        metric = {
            "parameter_id": number,
            "trial_job_id": self._job,
            "type": kind,
            "sequence": self._sequence if kind == "PERIODICAL" else 0,
            "value": json.dumps(value),
        }
        self._sequence += kind == "PERIODICAL"
        self._send({"type": "metric", "metric": json.dumps(metric)})

    def _recorded(self) -> dict[str, Any]:
        deadline = time.monotonic() + _KNOWN_LIMIT
        while True:
            status, text = self._ask("GET", f"{self._manager}/trial-jobs/{self._job}")
            records = json.loads(text).get("hyperParameters") if status == 200 else None
            if records:
                record: dict[str, Any] = json.loads(records[0])
                return record
            if time.monotonic() > deadline:
                raise RunError(f"NNI's record does not know trial {self._job}")
            time.sleep(0.1)

    def _manages(self) -> bool:
        """Whether the manager itself is at the channel's address, as on its own machine."""
        return self._ask("GET", f"{self._manager}/check-status")[0] == 200

    def _send(self, command: dict[str, Any]) -> None:
        status, _ = self._ask("PUT", self._url, command)
        if status != 200:
            raise NNIGone(f"NNI does not listen (status {status}); it is ending")

    def _ask(self, method: str, url: str, body: object = None) -> tuple[int, str]:
        data = None if body is None else json.dumps(body).encode()
        head = {"Content-Type": "application/json", **login()}
        request = urllib.request.Request(url, data, head, method=method)
        try:
            with _DIRECTLY.open(request, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            with e:
                return e.code, ""
        except OSError as e:
            raise NNIGone(f"NNI is gone: {e}") from e
