"""What is said to NNI's manager, in order and from one thread, so that the search never waits."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .manager import Rest

if TYPE_CHECKING:
    from typing_extensions import Self

_LOOK = 0.5
"""Seconds between two looks at the manager's status."""

_KNOWN_LIMIT = 60.0
"""Seconds in which the manager's record must know a trial that it has started."""


class ManagerQueue:
    """Speaks to the manager through `rest`. `status` is what it last said of itself.

    Answers come through callbacks, on this thread. Reports to a manager that is gone are dropped:
    the study has them already.
    """

    def __init__(self, rest: Rest) -> None:
        self._rest = rest
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._again: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._looked = 0.0
        self.status: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._jobs.put(None)
        self._thread.join()
        self._rest.close()

    def resolve(self, job: str, answer: Callable[[int | None], None]) -> None:
        """The parameter id of NNI's trial `job`, by its record; None where it has none in time.

        The record is what the dashboard shows. The queue that NNI's own trials draw from gives
        each parameter to whichever trial asks first.
        """
        deadline = time.monotonic() + _KNOWN_LIMIT

        def look() -> None:
            found = None
            with suppress(OSError):
                found = self._rest.api("GET", f"trial-jobs/{job}")
            records = (found or {}).get("hyperParameters")
            if records:
                answer(json.loads(records[0])["parameter_id"])
            elif time.monotonic() > deadline:
                answer(None)
            else:
                self._again.append(look)

        self._jobs.put(look)

    def report(self, job: str, number: int, kind: str, sequence: int, value: Any) -> None:
        """`kind` is PERIODICAL, once an epoch, or FINAL."""
        metric = {
            "parameter_id": number,
            "trial_job_id": job,
            "type": kind,
            "sequence": sequence,
            "value": json.dumps(value),
        }
        self._jobs.put(lambda: self._put(job, {"type": "metric", "metric": json.dumps(metric)}))

    def curves(self, answer: Callable[[list[dict[str, Any]]], None]) -> None:
        """All intermediate results so far, as NNI keeps them."""

        def look() -> None:
            with suppress(OSError):
                answer(self._rest.api("GET", "metric-data?type=PERIODICAL") or [])

        self._jobs.put(look)

    def last_error_line(self, number: int, answer: Callable[[str], None]) -> None:
        """The last line of the stderr of the trial with parameter id `number`, or nothing."""

        def look() -> None:
            words = ""
            with suppress(OSError):
                for job in self._rest.api("GET", "trial-jobs") or []:
                    records = job.get("hyperParameters") or ["{}"]
                    if json.loads(records[0]).get("parameter_id") == number:
                        route = f"/api/v1/nni/trial-file/{job['trialJobId']}/stderr"
                        words = self._rest.text(route)
            lines = [line.strip() for line in words.splitlines() if line.strip()]
            answer(lines[-1] if lines else "")

        self._jobs.put(look)

    def then(self, do: Callable[[], None]) -> None:
        """Call `do` after everything reported so far has arrived."""
        self._jobs.put(do)

    def _put(self, job: str, command: Mapping[str, Any]) -> None:
        """Say `command` in the trial's place, on the channel that NNI gives to its own process."""
        with suppress(OSError):
            self._rest.request("PUT", f"/env/local-env/{job}", command)

    def _work(self) -> None:
        while True:
            with suppress(queue.Empty):
                do = self._jobs.get(timeout=0.02 if self._again else _LOOK)
                if do is None:
                    return
                do()
            # Between two jobs: a trial that NNI's record does not know yet holds up no report.
            waiting, self._again = self._again, []
            for look in waiting:
                look()
            if time.monotonic() - self._looked > _LOOK:
                with suppress(OSError):
                    self.status = self._rest.api("GET", "check-status") or {}
                self._looked = time.monotonic()
