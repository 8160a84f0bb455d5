"""The search as NNI trials on other machines.

Trials there reach nothing but NNI, which hands our tuner their results, and the tuner hands them to
this process. It tells the study, reads their curves, and has a trial stopped that is to be pruned.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Callable
from typing import Any

import optuna
from optuna.trial import Trial

from ....search_space import Architecture
from ...config.schema import ExperimentConfig
from ...search.loop import Ending
from ...search.propose import Proposal
from ...search.trial_log import Telling
from ...workers.channel import Message
from ...workers.events import Reported, Scored
from ..values import point, scored
from .call_server import Call
from .endings import Endings
from .manager import Manager
from .manager_queue import Desk


class RemoteSearch:
    """One search, from what the study holds to `config.trials` trials in all."""

    def __init__(self, config: ExperimentConfig, study: optuna.Study, telling: Telling) -> None:
        self._study, self._telling = study, telling
        self._endings = Endings(config, telling)
        self._inbox: queue.SimpleQueue[tuple[Call | None, Message]] = queue.SimpleQueue()
        self._tuner: Call | None = None
        self._pruned: set[int] = set()
        self._scored: set[int] = set()

    def heard(self, call: Call | None, message: Message) -> None:
        """Something was said; may be called from any thread."""
        self._inbox.put((call, message))

    def run(
        self,
        desk: Desk,
        manager: Manager,
        stop: Callable[[], bool],
        on_best: Callable[[Architecture], None],
    ) -> Ending:
        """As `NNISearch.run`."""
        self._desk = desk
        on_change = None
        while not stop():
            try:
                heard = self._inbox.get(timeout=0.5)
                self._handle(*heard)
            except queue.Empty:
                self._ask_for_curves()
            best = self._telling.best
            if best is not None and best is not on_change:
                on_change = best
                on_best(best[1])
            busy = bool(self._telling.running)
            if (ending := self._endings.look(manager, desk.status, busy, busy)) is not None:
                return ending
        return "stopped"

    def let_go(self) -> None:
        """Have the tuner end: the search is over."""
        if self._tuner is not None:
            self._tuner.hang_up()

    def _handle(self, call: Call | None, message: Message) -> None:
        kind = message["kind"]
        if kind == "tuner":
            self._tuner = call
        elif kind == "given":
            self._given(int(message["number"]))
        elif kind == "curves":
            self._read_curves(message["of"])
        elif kind == "result":
            self._scored.add(int(message["number"]))
            # Its curve first, which comes another way.
            self._ask_for_curves()
            self._desk.then(lambda: self.heard(None, {**message, "kind": "scored"}))
        elif kind == "scored":
            self._result(int(message["number"]), message["value"])
        elif kind == "ended":
            self._settle(int(message["number"]), bool(message["success"]))
        elif kind == "said":
            self._end(int(message["number"]), str(message["words"]))
        elif kind == "nothing_left":
            self._endings.exhausted = bool(message["exhausted"])
            if not self._telling.running:
                self._telling.take_stock()  # a trial that asked in vain counts too
        elif kind == "fatal":
            self._endings.fatal(str(message["reason"]))
        elif kind == "over":
            self._endings.fatal("the tuner's process was killed")

    def _ask_for_curves(self) -> None:
        self._desk.curves(lambda metrics: self.heard(None, {"kind": "curves", "of": metrics}))

    def _given(self, number: int) -> None:
        trial = self._study.get_trials(deepcopy=False)[number]
        architecture = Architecture.from_dict(trial.user_attrs["architecture"])
        self._telling.start(Proposal(Trial(self._study, trial._trial_id), architecture))

    def _read_curves(self, metrics: list[dict[str, Any]]) -> None:
        for metric in metrics:
            record = json.loads(metric["data"]) if metric["type"] == "PERIODICAL" else None
            number, epoch = int(metric["parameterId"]), int(metric["sequence"]) + 1
            running = self._telling.running.get(number)
            score = None if record is None else point(record)
            if running is None or score is None or epoch in running.curve:
                continue
            stop = self._telling.hear(Reported(number, epoch, {"score": score}))
            if stop and number not in self._pruned | self._scored:
                self._pruned.add(number)
                if self._tuner is not None:
                    self._tuner.send({"kind": "stop", "job": metric["trialJobId"]})

    def _result(self, number: int, value: Any) -> None:
        if number not in self._telling.running:
            return
        running = self._telling.running[number]
        curve = tuple(score for _, score in sorted(running.curve.items()))
        try:
            self._telling.hear(scored(number, value, curve))
        except ValueError as e:
            self._telling.fail(running.trial, str(e))

    def _settle(self, number: int, success: bool) -> None:
        """NNI's trial has ended some time ago: whatever still runs then has no result."""
        running = self._telling.running.get(number)
        if running is None:
            return
        if number in self._pruned and running.curve:
            curve = tuple(score for _, score in sorted(running.curve.items()))
            self._telling.hear(Scored(number, curve[-1], {}, curve, pruned=True))
            return
        # Its last words are on its machine.
        self._desk.last_words(
            number,
            lambda words: self.heard(None, {"kind": "said", "number": number, "words": words}),
        )

    def _end(self, number: int, words: str) -> None:
        if (running := self._telling.running.get(number)) is not None:
            reason = words or "its NNI trial was canceled or killed, or its machine was lost"
            self._telling.fail(running.trial, reason)
