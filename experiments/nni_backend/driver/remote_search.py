"""The search as NNI trials on other machines.

Trials there reach nothing but NNI, which hands our tuner their results, and the tuner hands them to
this process. It tells the study, reads their curves, and has a trial stopped that is to be pruned.
"""

from __future__ import annotations

import json
from typing import Any

from ...search.session import Session
from ...workers.channel import Message
from ...workers.dispatch import Ending, Task
from ...workers.events import Event, Reported, Scored
from ..values import point, scored
from .managed import ManagedSearch
from .socket_server import Connection


class RemoteSearch(ManagedSearch):
    """With the evaluations on the config's machines: nothing is given out here."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._pruned: set[int] = set()
        self._scored: set[int] = set()

    def look(self) -> None:
        # Each answer is one more message: asked while others wait, they would pile up.
        if self._inbox.empty():
            self._ask_for_curves()
        super().look()

    def next(self) -> Task | None:
        return None

    def hear(self, event: Event) -> bool:
        return self.trials.hear(event)

    def ending(self) -> Ending | None:
        busy = bool(self.trials.running)
        return self._ending(busy=busy, alive=busy)

    def handle(self, connection: Connection | None, message: Message) -> None:
        kind = message["kind"]
        if kind == "tuner":
            self._tuner = connection
        elif kind == "given":
            self.trials.start(self._proposal(int(message["number"])))
        elif kind == "curves":
            self._read_curves(message["of"])
        elif kind == "result":
            self._scored.add(int(message["number"]))
            # Its curve first, which comes another way.
            self._ask_for_curves()
            self._queue.then(lambda: self.receive(None, {**message, "kind": "scored"}))
        elif kind == "scored":
            self._result(int(message["number"]), message["value"])
        elif kind == "ended":
            self._settle(int(message["number"]), bool(message["success"]))
        elif kind == "failed":
            self._end(int(message["number"]), str(message["line"]))
        elif kind == "nothing_left":
            self._endings.exhausted = bool(message["exhausted"])
            if not self.trials.running:
                self.trials.take_stock()  # a trial that asked in vain counts too
        elif kind == "fatal":
            self._endings.fatal(str(message["reason"]))
        elif kind == "over":
            self._endings.fatal("the tuner's process was killed")

    def _ask_for_curves(self) -> None:
        self._queue.curves(lambda metrics: self.receive(None, {"kind": "curves", "of": metrics}))

    def _read_curves(self, metrics: list[dict[str, Any]]) -> None:
        for metric in metrics:
            record = json.loads(metric["data"]) if metric["type"] == "PERIODICAL" else None
            number, epoch = int(metric["parameterId"]), int(metric["sequence"]) + 1
            running = self.trials.running.get(number)
            score = None if record is None else point(record)
            # NNI answers with all curves from their start, each time.
            if running is None or score is None or epoch in running.curve:
                continue
            stop = self.trials.hear(Reported(number, epoch, {"score": score}))
            # One that has its result ends by itself, and is asked to stop only once.
            if stop and number not in self._pruned | self._scored:
                self._pruned.add(number)
                if self._tuner is not None:
                    self._tuner.send({"kind": "stop", "job": metric["trialJobId"]})

    def _result(self, number: int, value: Any) -> None:
        if number not in self.trials.running:
            return
        running = self.trials.running[number]
        curve = tuple(score for _, score in sorted(running.curve.items()))
        try:
            self.trials.hear(scored(number, value, curve))
        except ValueError as e:
            self.trials.fail(running.trial, str(e))

    def _settle(self, number: int, success: bool) -> None:
        """NNI's trial has ended some time ago: whatever still runs then has no result."""
        running = self.trials.running.get(number)
        if running is None:
            return
        if number in self._pruned and running.curve:
            curve = tuple(score for _, score in sorted(running.curve.items()))
            self.trials.hear(Scored(number, curve[-1], {}, curve, pruned=True))
            return
        # What it printed last is on its machine.
        self._queue.last_error_line(
            number,
            lambda line: self.receive(None, {"kind": "failed", "number": number, "line": line}),
        )

    def _end(self, number: int, line: str) -> None:
        if (running := self.trials.running.get(number)) is not None:
            reason = line or "its NNI trial was canceled or killed, or its machine was lost"
            self.trials.fail(running.trial, reason)
