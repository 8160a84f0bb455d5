"""The search as NNI trials, on this machine.

NNI's manager asks our tuner, in a process of its own, for trials; each of its trials is a tiny
process that stands for an evaluation in one of our warm workers. This process hears of both, gives
out the work, tells the study and then NNI, and decides when the search is over: NNI's own status is
never waited for without end.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from optuna.trial import FrozenTrial, Trial, TrialState

from ...search.session import Session
from ...workers.channel import Message
from ...workers.dispatch import Ending, Task
from ...workers.events import Event, Reported
from ..values import final_value
from .managed import ManagedSearch
from .socket_server import Connection


@dataclass(eq=False)
class _TrialProcess:
    """Of NNI. number: its trial's in the study, once NNI's record has said it."""

    connection: Connection
    job: str
    number: int | None = None
    canceled: bool = False


class NNISearch(ManagedSearch):
    """With the evaluations in this machine's workers."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.verdicts = self.trials.prunes
        self._objectives = session.config.objective_names
        self.trials.listeners.append(self._tell_nni)
        self._processes: dict[Connection, _TrialProcess] = {}
        self._waiting: deque[_TrialProcess] = deque()
        # What was given out or failed here: that NNI's trial has ended says nothing new of it.
        self._begun: set[int] = set()

    def next(self) -> Task | None:
        if not self._waiting:
            return None
        number = self._waiting.popleft().number
        assert number is not None
        proposal = self._proposal(number)
        self._begun.add(number)
        self.trials.start(proposal)
        return Task(number, proposal.architecture, self._session.config.seed)

    def hear(self, event: Event) -> bool:
        verdict = self.trials.hear(event)
        if isinstance(event, Reported):
            self._report(event)
        return verdict

    def ending(self) -> Ending | None:
        busy = bool(self.trials.running or self._waiting)
        return self._ending(busy=busy, alive=bool(self._processes))

    def release(self) -> None:
        """Have the tuner and the trials end: the search is over."""
        for process in self._processes.values():
            # Words for its stderr, and its exit status as the last byte: see `trial/shim.py`.
            process.connection.finish(b"the search was stopped\n\x01")
        super().release()

    # What is heard

    def handle(self, connection: Connection | None, message: Message) -> None:
        kind = message["kind"]
        if connection is self._tuner or kind == "tuner":
            self._hear_tuner(connection, kind, message)
        elif connection is None:
            return
        elif kind == "trial":
            process = _TrialProcess(connection, str(message["job"]))
            self._processes[connection] = process
            self._queue.resolve(
                process.job,
                lambda number: self.receive(connection, {"kind": "known", "number": number}),
            )
        elif connection in self._processes:
            self._hear_trial(self._processes[connection], kind, message)

    def _hear_tuner(self, connection: Connection | None, kind: str, message: Message) -> None:
        if kind == "tuner":
            self._tuner = connection
        elif kind == "fatal":
            self._endings.fatal(str(message["reason"]))
        elif kind == "nothing_left":
            self._endings.exhausted = bool(message["exhausted"])
            self.trials.take_stock()  # a trial that asked in vain counts too
        elif kind == "ended":
            self._settle(int(message["number"]), bool(message["success"]))
        elif kind == "over":
            self._endings.fatal("the tuner's process was killed")

    def _hear_trial(self, process: _TrialProcess, kind: str, message: Message) -> None:
        if kind == "known":
            self._know(process, message["number"])
        elif kind == "cancel":
            process.canceled = True
        elif kind == "over":
            del self._processes[process.connection]
            if process in self._waiting:
                self._waiting.remove(process)
            if process.number in self.trials.running:
                reason = (
                    "canceled in NNI" if process.canceled else "its NNI trial process was killed"
                )
                self._session.pool.cancel(process.number, reason)
            elif process.number is not None and process.number not in self._begun:
                self._fail(process.number, "its NNI trial process ended before it began")

    def _know(self, process: _TrialProcess, number: int | None) -> None:
        trial = None if number is None else self._trial(number)
        if trial is None:
            process.connection.finish(b"NNI's record has no parameters of this study\n\x01")
            return
        process.number = trial.number
        self._waiting.append(process)

    def _trial(self, number: int) -> FrozenTrial | None:
        """The trial `number` where it is to be trained and is not yet."""
        trials = self._study.get_trials(deepcopy=False)
        taken = number in self.trials.running or any(
            process.number == number for process in self._waiting
        )
        if not 0 <= number < len(trials) or taken or trials[number].state.is_finished():
            return None
        return trials[number]

    def _settle(self, number: int, success: bool) -> None:
        """NNI's trial has ended some time ago: whatever still runs then never began."""
        if number not in self._begun and number not in self.trials.running:
            reason = "its NNI trial ended before it asked what to train"
            self._fail(number, reason if not success else f"{reason}, and without an error")

    def _fail(self, number: int, reason: str) -> None:
        if (trial := self._trial(number)) is not None:
            self._begun.add(number)
            self.trials.fail(Trial(self._study, trial._trial_id), reason)

    # What is done

    def _process(self, number: int) -> _TrialProcess | None:
        running = self._processes.values()
        return next((process for process in running if process.number == number), None)

    def _report(self, event: Reported) -> None:
        running = self.trials.running.get(event.trial)
        process = self._process(event.trial)
        if running is not None and process is not None and event.epoch in running.curve:
            # NNI counts reports from 0, whatever the epochs are.
            sequence = len(running.curve) - 1
            score = running.curve[event.epoch]
            self._queue.report(process.job, event.trial, "PERIODICAL", sequence, score)

    def _tell_nni(self, ended: FrozenTrial) -> None:
        process = self._process(ended.number)
        if process is None:
            return
        if ended.state == TrialState.FAIL:
            process.connection.finish(f"{ended.user_attrs['reason']}\n".encode() + b"\x01")
            return
        self._queue.report(
            process.job, ended.number, "FINAL", 0, final_value(ended, self._objectives)
        )
        if ended.state != TrialState.PRUNED:
            self._queue.then(lambda: process.connection.finish(b"\x00"))
        # The tuner has NNI stop a pruned trial, which makes it an early stopped one.
