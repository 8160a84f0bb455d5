"""The search loop: ask the strategy, hand out to workers, tell the study. One process does all three.

A trial left running by a run that was killed is adopted: trained again under its own number, or,
where its score had already been kept, only told.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from ..search_space import Architecture, FeasibleSet
from ..strategies import Exhausted
from . import records
from .config import ExperimentConfig
from .events import Event, Failed, Reported, Scored
from .progress import Progress, Watch
from .workers import Pool

Ending = Literal["done", "exhausted", "stopped"]


@dataclass
class _Running:
    trial: Trial
    architecture: Architecture
    curve: dict[int, float] = field(default_factory=dict)


class Search:
    """`log` takes one line for people; `watch` is called after every change."""

    def __init__(
        self,
        config: ExperimentConfig,
        study: optuna.Study,
        storage: RDBStorage,
        feasible: FeasibleSet[Architecture],
        pool: Pool,
        *,
        share: float,
        log: Callable[[str], None],
        watch: Watch,
    ) -> None:
        self._config, self._study, self._storage = config, study, storage
        self._feasible, self._pool, self._share = feasible, pool, share
        self._log, self._watch = log, watch
        self._running: dict[int, _Running] = {}
        self._waiting: deque[_Running] = deque()
        self._counts = {"complete": 0, "pruned": 0, "failed": 0}
        self._seen: set[str] = set()
        self._exhausted = False
        self._started, self._done_here = time.monotonic(), 0
        self.best: tuple[float, Architecture] | None = None

    def run(self, stop: Callable[[], bool], on_best: Callable[[Architecture], None]) -> Ending:
        """Until the trials are done, the set is exhausted, or `stop` says so."""
        self._take_stock()
        on_change = self.best
        if self.best is not None:
            on_best(self.best[1])
        self._show("")
        while not stop():
            self._hand_out()
            if not self._running:
                if self._done >= self._config.trials:
                    return "done"
                if self._exhausted:
                    return "exhausted"
            for event in self._pool.wait(1.0):
                self._handle(event)
            if self.best is not None and self.best is not on_change:
                on_change = self.best
                on_best(self.best[1])
        return "stopped"

    @property
    def _done(self) -> int:
        return sum(self._counts.values())

    def _take_stock(self) -> None:
        """Read what the study holds; adopt what a killed run left."""
        trials = self._study.get_trials(deepcopy=False)
        counted = records.count(trials)
        self._counts = {word: counted[word] for word in self._counts}
        for trial in trials:
            if trial.state.is_finished() and "key" in trial.user_attrs:
                self._seen.add(trial.user_attrs["key"])
        for best in records.ranked(trials)[:1]:
            self.best = (best.values[0], Architecture.from_dict(best.user_attrs["architecture"]))
        for trial in trials:
            if trial.state == TrialState.RUNNING:
                self._adopt(trial)

    def _adopt(self, left: FrozenTrial) -> None:
        self._log(f"trial {left.number}: adopted from a run that ended early")
        running = self._propose(lambda: Trial(self._study, left._trial_id))
        if running is None:
            return
        if "score" in left.user_attrs:
            # It was scored; the run ended between keeping the score and telling the study.
            self._running[left.number] = running
            self._tell_score(left.number, left.user_attrs["score"], bool(left.user_attrs["pruned"]))
        else:
            self._waiting.append(running)

    def _hand_out(self) -> None:
        while self._pool.idle:
            if self._waiting:
                running = self._waiting.popleft()
            elif self._done + len(self._running) < self._config.trials:
                asked = self._ask()
                if asked is None:
                    return
                running = asked
            else:
                return
            self._running[running.trial.number] = running
            self._pool.submit(
                running.trial.number,
                running.architecture.to_dict(),
                seed=self._config.seed,
                verdicts=self._config.pruner.name != "none",
            )
            self._show("")

    def _ask(self) -> _Running | None:
        while not self._exhausted and self._done + len(self._running) < self._config.trials:
            if len(self._seen) >= self._feasible.count:
                self._exhausted = True
            elif (running := self._propose(self._study.ask)) is not None:
                return running
        return None

    def _propose(self, ask: Callable[[], Trial]) -> _Running | None:
        """A trial with its architecture; None when there is none to train."""
        try:
            trial = ask()
        except Exhausted:
            # The strategy has told that trial FAIL.
            self._exhausted = True
            self._counts["failed"] += 1
            return None
        try:
            architecture = self._feasible.suggest(trial)
        except ValueError as e:
            # Queued by hand, for instance, with parameters outside the budget.
            self._fail(trial, f"it cannot be tried: {e}")
            return None
        if architecture.key in self._seen:
            self._fail(trial, "another trial has this architecture")
            return None
        self._seen.add(architecture.key)
        trial.set_user_attr("key", architecture.key)
        trial.set_user_attr("architecture", architecture.to_dict())
        return _Running(trial, architecture)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Reported):
            self._handle_report(event)
        elif isinstance(event, Failed):
            self._fail(self._running.pop(event.trial).trial, event.reason)
        else:
            self._handle_score(event)

    def _handle_report(self, event: Reported) -> None:
        running = self._running[event.trial]
        score = event.metrics.get("score", event.metrics.get("accuracy"))
        stop = False
        if score is not None and math.isfinite(score):
            running.curve[event.epoch] = score
            trial_id = running.trial._trial_id
            self._storage.set_trial_intermediate_value(trial_id, event.epoch, score)
            if self._config.pruner.name != "none":
                # Only this attempt's curve: an adopted trial may hold a longer, older one.
                seen = self._storage.get_trial(trial_id)
                seen.intermediate_values = dict(running.curve)
                stop = bool(self._study.pruner.prune(self._study, seen))  # numpy's, not JSON's
        if self._config.pruner.name != "none":
            self._pool.verdict(event.trial, stop=stop)

    def _handle_score(self, event: Scored) -> None:
        running = self._running[event.trial]
        if not math.isfinite(event.score):
            del self._running[event.trial]
            self._fail(running.trial, f"its score is {event.score}")
            return
        _keep(running.trial, event.metrics, curve=list(event.curve), pruned=event.pruned)
        running.trial.set_user_attr("score", event.score)
        self._tell_score(event.trial, event.score, event.pruned)

    def _tell_score(self, number: int, score: float, pruned: bool) -> None:
        running = self._running.pop(number)
        text = stages_text(running.architecture)
        if pruned:
            self._study.tell(running.trial, state=TrialState.PRUNED)
            self._counts["pruned"] += 1
            self._ended(f"trial {number}: pruned at {score:.4f}  {text}")
            return
        self._study.tell(running.trial, score)
        self._counts["complete"] += 1
        if self.best is None or score > self.best[0]:
            self.best = (score, running.architecture)
        self._ended(f"trial {number}: {score:.4f}  {text}")

    def _fail(self, trial: Trial, reason: str) -> None:
        trial.set_user_attr("reason", reason)
        self._study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        self._counts["failed"] += 1
        self._ended(f"trial {trial.number}: failed, {reason}")

    def _ended(self, news: str) -> None:
        self._done_here += 1
        self._log(news)
        self._show(news)

    def _show(self, news: str) -> None:
        remaining = max(0, self._config.trials - self._done)
        pace = (time.monotonic() - self._started) / self._done_here if self._done_here else None
        best_score, best = self.best if self.best else (None, None)
        self._watch(
            Progress(
                total=self._config.trials,
                **self._counts,
                running=len(self._running),
                best_score=best_score,
                best=stages_text(best) if best else "",
                feasible_share=self._share,
                seconds_left=None if pace is None else pace * remaining,
                news=news,
            )
        )


def stages_text(architecture: Architecture) -> str:
    """The choices alone, without backbone, input and classes, which all trials share."""
    return str(architecture).partition(": ")[2]


def _keep(trial: Trial, metrics: Mapping[str, float], **more: object) -> None:
    for name, value in metrics.items():
        trial.set_user_attr(f"metric.{name}", value)
    for name, thing in more.items():
        trial.set_user_attr(name, thing)
