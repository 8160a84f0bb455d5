"""When a search under NNI is over: NNI's own status is never waited for without end."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ...config.schema import ExperimentConfig
from ...errors import RunError
from ...search.trial_log import TrialLog
from ...workers.dispatch import Ending
from .manager import Manager

_LINGER = 20.0
"""Seconds that NNI gets to finish its own books, once the study has everything."""

_UNTOLD = 5.0
"""Seconds NNI may call itself done while the study does not."""


class Endings:
    """Looks at a search of `config.trials` trials. `exhausted`: the tuner has nothing left."""

    def __init__(self, config: ExperimentConfig, trials: TrialLog) -> None:
        self._config, self._trials = config, trials
        self._fatal = ""
        self._over_since: float | None = None
        self.exhausted = False

    def fatal(self, reason: str) -> None:
        """The tuner cannot go on; the first reason is the true one."""
        self._fatal = self._fatal or reason

    def look(
        self, manager: Manager, status: Mapping[str, Any], busy: bool, alive: bool
    ) -> Ending | None:
        """How the search has ended; None while it goes on.

        `status` is what the manager said last; `busy` whether a trial is in training or waits for
        it, `alive` whether one has a process. Raises RunError, with the true reason, when the tuner
        or the manager ended before the search.
        """
        if self._fatal:
            raise RunError(f"the search under NNI failed: {self._fatal}")
        if manager.exit_code == 0 and not self._trials.open > 0 and not self._trials.running:
            return "done"
        if manager.reason:
            raise RunError(f"NNI cannot use a machine: {manager.reason}")
        if manager.exit_code is not None:
            if manager.exit_code == 0:
                return "stopped"  # as the dashboard can ask it to
            raise RunError(f"NNI's manager ended: {_in_words(manager.exit_code)}")
        if status.get("status") == "ERROR":
            raise RunError(f"the search under NNI failed: {'; '.join(status.get('errors', []))}")
        done = self._trials.done >= self._config.trials
        closed = status.get("status") == "DONE"
        # The clock below runs only while nothing is left to do; any new work starts it anew.
        if busy or not (done or self.exhausted or closed):
            self._over_since = None
            return None
        now = time.monotonic()
        self._over_since = self._over_since or now
        waited = now - self._over_since
        if done and (closed or waited > _LINGER):
            return "done"
        if self.exhausted and not alive:
            return "exhausted"
        return "stopped" if closed and waited > _UNTOLD else None


def _in_words(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit status {code}"
