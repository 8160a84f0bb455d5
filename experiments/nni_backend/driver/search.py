"""The search as NNI trials, on this machine.

NNI's manager asks our tuner, in a process of its own, for trials; each of its trials is a tiny process
that stands for an evaluation in one of our warm workers. This process hears of both, hands out, tells
the study and then NNI, and decides when the search is over: NNI's own status is never waited for
without end.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import optuna
from optuna.trial import Trial, TrialState

from ....search_space import Architecture
from ...config.schema import ExperimentConfig
from ...search.loop import Ending
from ...search.propose import Proposal
from ...search.trial_log import Ended, Telling
from ...workers.channel import Message
from ...workers.events import Reported
from ...workers.pool import WorkerPool
from ..values import final_value
from .call_server import Call
from .endings import Endings
from .manager import Manager
from .manager_queue import Desk


@dataclass(eq=False)
class _Line:
    """A trial process of NNI."""

    call: Call
    job: str
    number: int | None = None
    canceled: bool = False
    since: float = field(default_factory=time.monotonic)


class NNISearch:
    """One search under NNI, from what the study holds to `config.trials` trials in all."""

    def __init__(
        self, config: ExperimentConfig, study: optuna.Study, telling: Telling, pool: WorkerPool
    ) -> None:
        self._config, self._study, self._telling, self._pool = config, study, telling, pool
        telling.listeners.append(self._tell_nni)
        self._inbox: queue.SimpleQueue[tuple[Call | None, Message]] = queue.SimpleQueue()
        self._lines: dict[Call, _Line] = {}
        self._waiting: deque[_Line] = deque()
        self._tuner: Call | None = None
        self._endings = Endings(config, telling)
        self._seen: set[int] = set()

    def heard(self, call: Call | None, message: Message) -> None:
        """Something was said; may be called from any thread."""
        self._inbox.put((call, message))
        self._pool.wake()

    def run(
        self,
        desk: Desk,
        manager: Manager,
        stop: Callable[[], bool],
        on_best: Callable[[Architecture], None],
    ) -> Ending:
        """Until the trials are done, the set is exhausted, `stop` says so, or NNI was told to end.

        Raises RunError, with the true reason, when the tuner or the manager ends before that.
        """
        self._desk = desk
        on_change = None
        while not stop():
            for event in self._pool.wait(0.5):
                verdict = self._telling.hear(event)
                if isinstance(event, Reported):
                    self._report(event)
                    if self._telling.prunes:
                        self._pool.verdict(event.trial, stop=verdict)
            while not self._inbox.empty():
                self._handle(*self._inbox.get())
            self._hand_out()
            best = self._telling.best
            if best is not None and best is not on_change:
                on_change = best
                on_best(best[1])
            busy = bool(self._telling.running or self._waiting)
            if (
                ending := self._endings.look(manager, desk.status, busy, bool(self._lines))
            ) is not None:
                return ending
        return "stopped"

    def let_go(self) -> None:
        """Have the tuner and the trials end: the search is over."""
        for line in self._lines.values():
            line.call.hang_up(b"the search was stopped\n\x01")
        if self._tuner is not None:
            self._tuner.hang_up()

    # What is heard

    def _handle(self, call: Call | None, message: Message) -> None:
        kind = message["kind"]
        if call is self._tuner or kind == "tuner":
            self._hear_tuner(call, kind, message)
        elif kind == "trial" and call is not None:
            line = self._lines[call] = _Line(call, str(message["job"]))
            self._desk.resolve(
                line.job, lambda number: self.heard(call, {"kind": "known", "number": number})
            )
        elif (line_of := self._lines.get(call)) is not None:  # type: ignore[arg-type]
            self._hear_trial(line_of, kind, message)

    def _hear_tuner(self, call: Call | None, kind: str, message: Message) -> None:
        if kind == "tuner":
            self._tuner = call
        elif kind == "fatal":
            self._endings.fatal(str(message["reason"]))
        elif kind == "nothing_left":
            self._endings.exhausted = bool(message["exhausted"])
            self._telling.take_stock()  # a trial that asked in vain counts too
        elif kind == "ended":
            self._settle(int(message["number"]), bool(message["success"]))
        elif kind == "over":
            self._endings.fatal("the tuner's process was killed")

    def _hear_trial(self, line: _Line, kind: str, message: Message) -> None:
        if kind == "known":
            self._know(line, message["number"])
        elif kind == "cancel":
            line.canceled = True
        elif kind == "over":
            del self._lines[line.call]
            if line in self._waiting:
                self._waiting.remove(line)
            if line.number in self._telling.running:
                reason = "canceled in NNI" if line.canceled else "its NNI trial process was killed"
                self._pool.cancel(line.number, reason)
            elif line.number is not None and line.number not in self._seen:
                self._fail(line.number, "its NNI trial process ended before it began")

    def _know(self, line: _Line, number: int | None) -> None:
        trial = None if number is None else self._trial(number)
        if trial is None:
            line.call.hang_up(b"NNI's record has no parameters of this study\n\x01")
            return
        line.number = trial.number
        self._waiting.append(line)

    def _trial(self, number: int) -> optuna.trial.FrozenTrial | None:
        """The trial `number` where it is to be trained and is not yet."""
        trials = self._study.get_trials(deepcopy=False)
        taken = number in self._telling.running or any(l.number == number for l in self._waiting)
        if not 0 <= number < len(trials) or taken or trials[number].state.is_finished():
            return None
        return trials[number]

    def _settle(self, number: int, success: bool) -> None:
        """NNI's trial has ended some time ago: whatever still runs then never began."""
        if number not in self._seen and number not in self._telling.running:
            reason = "its NNI trial ended before it asked what to train"
            self._fail(number, reason if not success else f"{reason}, and without an error")

    def _fail(self, number: int, reason: str) -> None:
        if (trial := self._trial(number)) is not None:
            self._seen.add(number)
            self._telling.fail(Trial(self._study, trial._trial_id), reason)

    # What is done

    def _hand_out(self) -> None:
        while self._pool.idle and self._waiting:
            line = self._waiting.popleft()
            assert line.number is not None
            trial = self._study.get_trials(deepcopy=False)[line.number]
            architecture = Architecture.from_dict(trial.user_attrs["architecture"])
            self._seen.add(line.number)
            self._telling.start(Proposal(Trial(self._study, trial._trial_id), architecture))
            self._pool.submit(
                line.number,
                architecture.to_dict(),
                seed=self._config.seed,
                verdicts=self._telling.prunes,
            )

    def _line(self, number: int) -> _Line | None:
        return next((line for line in self._lines.values() if line.number == number), None)

    def _report(self, event: Reported) -> None:
        running = self._telling.running.get(event.trial)
        line = self._line(event.trial)
        if running is not None and line is not None and event.epoch in running.curve:
            sequence = len(running.curve) - 1
            score = running.curve[event.epoch]
            self._desk.report(line.job, event.trial, "PERIODICAL", sequence, score)

    def _tell_nni(self, ended: Ended) -> None:
        line = self._line(ended.number)
        if line is None:
            return
        if ended.state == TrialState.FAIL:
            line.call.hang_up(f"{ended.reason}\n".encode() + b"\x01")
            return
        value = final_value(self._study.get_trials(deepcopy=False)[ended.number])
        self._desk.report(line.job, ended.number, "FINAL", 0, value)
        if ended.state != TrialState.PRUNED:
            self._desk.then(lambda: line.call.hang_up(b"\x00"))
        # The tuner has NNI stop a pruned trial, which makes it an early stopped one.
