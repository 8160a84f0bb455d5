"""What becomes of running trials: kept in the study, counted, and shown to whoever watches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from ...evaluators.table import stages_text
from ...search_space import Architecture
from ..config.schema import ExperimentConfig
from ..run import study as records
from ..run.objectives import values
from ..workers.events import Event, Failed, Reported, Scored
from .progress import Pace, Progress, Watch, unwatched
from .propose import Proposal


@dataclass
class _Running:
    trial: Trial
    architecture: Architecture
    curve: dict[int, float] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)


def always(trial: Trial) -> bool:
    """For trials that nobody else can take."""
    return True


def nobody(ended: FrozenTrial) -> None:
    """For a search that tells nobody but the study."""


def unkept(best: Architecture) -> None:
    """For a process that does not keep the best."""


class TrialLog:
    """The running trials of one search. The study hears of everything before anybody else.

    share: the part of the space inside the budget. log: takes one line for people. watch: called
    after every change. on_best: called with every new best architecture. ended: called with every
    trial that is over, as the study has it. ours: whether a trial that has come to its end is still
    this search's to tell.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        study: optuna.Study,
        *,
        log: Callable[[str], None],
        share: float = 0.0,
        watch: Watch = unwatched,
        on_best: Callable[[Architecture], None] = unkept,
        ended: Callable[[FrozenTrial], None] = nobody,
        ours: Callable[[Trial], bool] = always,
    ) -> None:
        self._config, self._study, self._storage = config, study, study._storage
        self._share, self._log, self._watch, self._on_best = share, log, watch, on_best
        self.listeners = [ended]
        """Called in turn, after the study has heard of a trial's end."""
        self._ours = ours
        self._counts = {"complete": 0, "pruned": 0, "failed": 0}
        self._pace = Pace()
        self.running: dict[int, _Running] = {}
        self.best: tuple[float, Architecture] | None = None

    @property
    def prunes(self) -> bool:
        """Whether a worker is to wait for a verdict after each report."""
        return self._config.pruner.name != "none"

    @property
    def done(self) -> int:
        """Trials that are over: complete, pruned and failed ones."""
        return sum(self._counts.values())

    @property
    def open(self) -> int:
        """How many more trials may start."""
        return self._config.trials - self.done - len(self.running)

    def take_stock(self) -> list[FrozenTrial]:
        """Count what the study holds, and return it. Whatever has its score is told first."""
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state == TrialState.RUNNING and "score" in trial.user_attrs:
                # It was scored; the run ended between keeping the score and telling the study.
                records.tell_kept(self._study, trial)
        return self.recount()

    def recount(self) -> list[FrozenTrial]:
        """As `take_stock`, changing nothing."""
        trials = self._study.get_trials(deepcopy=False)
        counted = records.count(trials)
        self._counts = {word: counted[word] for word in self._counts}
        for best in records.ranked(trials)[:1]:
            self._note_best(best.values[0], Architecture.from_dict(best.user_attrs["architecture"]))
        return trials

    def _note_best(self, score: float, architecture: Architecture) -> None:
        if self.best != (score, architecture):
            self.best = score, architecture
            self._on_best(architecture)

    def start(self, proposal: Proposal) -> None:
        """From here on the trial counts as running, whether or not a worker has it yet."""
        running = _Running(proposal.trial, proposal.architecture)
        self.running[proposal.trial.number] = running
        self.show("")

    def hear(self, event: Event) -> bool:
        """Keep what a worker said of a running trial; True means that the trial is to stop."""
        if isinstance(event, Reported):
            return self._report(event)
        if not self._ours(self.running[event.trial].trial):
            self.drop(event.trial)
        elif isinstance(event, Scored):
            self._score(event)
        elif isinstance(event, Failed):
            self.fail(self.running[event.trial].trial, event.reason)
        return False

    def _report(self, event: Reported) -> bool:
        running = self.running[event.trial]
        score = event.metrics.get("score", event.metrics.get(self._config.objective_names[0]))
        # An epoch that diverged is passed over: the final score says whether the trial failed.
        if score is None or not math.isfinite(score):
            return False
        running.curve[event.epoch] = score
        trial_id = running.trial._trial_id
        self._storage.set_trial_intermediate_value(trial_id, event.epoch, score)
        if not self.prunes:
            return False
        # Only this attempt's curve: an adopted trial may hold a longer, older one.
        seen = self._storage.get_trial(trial_id)
        seen.intermediate_values = dict(running.curve)
        return bool(self._study.pruner.prune(self._study, seen))  # numpy's, not JSON's

    def _score(self, event: Scored) -> None:
        running = self.running[event.trial]
        if not math.isfinite(event.score):
            self.fail(running.trial, f"its score is {event.score}")
            return
        found = [event.score]
        try:
            if not event.pruned:
                wanted = self._config.objectives
                metrics = {**event.metrics, **_known(running.trial)}
                found = values(wanted, event.score, running.architecture, metrics)
        except ValueError as e:
            self.fail(running.trial, str(e))
            return
        kept = {"curve": list(event.curve), "pruned": event.pruned, "values": found}
        _keep(running.trial, event.metrics, **kept)
        # Last: `take_stock` takes a kept score as the sign that all the rest is kept too.
        running.trial.set_user_attr("score", event.score)
        self._tell(event.trial, found, pruned=event.pruned)

    def _tell(self, number: int, found: list[float], *, pruned: bool) -> None:
        running, score = self._ended(number), found[0]
        text = stages_text(running.architecture)
        # Another process may have found the kept score first, see `take_stock`.
        if pruned:
            state = TrialState.PRUNED
            ended = self._study.tell(running.trial, state=state, skip_if_finished=True)
            self._over(ended, "pruned", f"pruned at {score:.4f}  {text}")
            return
        ended = self._study.tell(running.trial, found, skip_if_finished=True)
        if self.best is None or score > self.best[0]:
            self._note_best(score, running.architecture)
        self._over(ended, "complete", f"{score:.4f}  {text}")

    def _ended(self, number: int) -> _Running:
        running = self.running.pop(number)
        self._pace.add(time.monotonic() - running.begun)
        return running

    def drop(self, number: int) -> None:
        """Another machine has taken this trial over, and tells its end."""
        if self.running.pop(number, None):
            self._log(f"trial {number}: taken over by another worker")

    def fail(self, trial: Trial, reason: str) -> None:
        """Tell the study that a trial, running here or only asked for, failed."""
        self.running.pop(trial.number, None)
        trial.set_user_attr("reason", reason)
        ended = self._study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
        self._over(ended, "failed", f"failed, {reason}")

    def _over(self, ended: FrozenTrial, counted: str, news: str) -> None:
        self._counts[counted] += 1
        self._log(f"trial {ended.number}: {news}")
        for listener in self.listeners:
            listener(ended)
        self.show(f"trial {ended.number}: {news}")

    def show(self, news: str) -> None:
        """Tell whoever watches where the search stands; `news` as in `Progress`."""
        remaining = max(0, self._config.trials - self.done)
        now = time.monotonic()
        waiting = max(0, remaining - len(self.running)) + self._config.final_trainings
        best_score, best = self.best if self.best else (None, None)
        self._watch(
            Progress(
                total=self._config.trials,
                complete=self._counts["complete"],
                pruned=self._counts["pruned"],
                failed=self._counts["failed"],
                running=len(self.running),
                best_score=best_score,
                best=stages_text(best) if best else "",
                feasible_share=self._share,
                seconds_left=self._pace.left(
                    waiting, (now - each.begun for each in self.running.values())
                ),
                news=news,
            )
        )


def _known(trial: Trial) -> dict[str, float]:
    """What was known of the architecture before it was trained: its latency, in milliseconds."""
    known = trial.user_attrs.get("latency_ms")
    return {} if known is None else {"latency": known}


def _keep(trial: Trial, metrics: Mapping[str, float], **more: object) -> None:
    for name, value in metrics.items():
        trial.set_user_attr(f"metric.{name}", value)
    for name, thing in more.items():
        trial.set_user_attr(name, thing)
