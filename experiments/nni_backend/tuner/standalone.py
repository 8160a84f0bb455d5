"""The tuner's part where NNI was started by its user: it keeps the study by itself.

Trials on this machine tell the study themselves, see `trial.py`, so that no result waits for NNI.
The tuner tells it what they could not: results from other machines or from a script that knows
nothing of convnas, and how a trial ended that has no result.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import closing, suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from optuna.trial import FrozenTrial, Trial, TrialState

from ....search_space import Architecture
from ...config.schema import ExperimentConfig, parse_config, resolved
from ...run import study as records
from ...run.directory import Lock
from ...search.local_backend import begin
from ...search.prepare import prepare
from ...search.propose import Proposal
from ...search.trial_log import TrialLog
from ...search.validate import validate
from ...search.zero_cost_fit import with_kept
from ..driver.manager import Rest
from ..values import point, scored
from .plugin_run import run_of
from .study import TunerStudy

_log = logging.getLogger(__name__)

_OPEN = (
    "NNI was started without convnas's guard: whoever reaches its port can run code as you. "
    'Stop it, and start it again after: eval "$(convnas nni guard)"'
)


class StandaloneHost:
    """`url` is where the manager listens for its tuner: ws://localhost:8080/tuner."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        assert place.port is not None
        self._port, self._prefix = place.port, place.path.removesuffix("/tuner")
        self._given: set[int] = set()

    def open(self, config: str, run_dir: str | None) -> TunerStudy:
        path, self._run = run_of(config, run_dir)
        os.chdir(path.parent)  # where the config's relative paths are meant from
        settings = parse_config(path)
        validate(settings)
        self._run.create()
        self._lock = Lock(self._run)
        # Never left: this process writes the study until its end, which frees the lock.
        self._lock.__enter__()
        before = self._run.read_config() if self._run.exists else None
        prepared = prepare(resolved(settings, device=settings.device), before)
        prepared = begin(self._run, prepared.config, partial(with_kept, prepared))
        if "CONVNAS_NNI_MANAGER" not in os.environ:
            self._run.log(_OPEN)
            _log.warning(_OPEN)
        asked = TunerStudy(self._run, prepared, limit=None)
        self._study, self._storage = asked.study, asked.storage
        self._trials = TrialLog(
            prepared.config, self._study, log=self._run.log, on_best=self._run.write_best
        )
        self._trials.take_stock()
        self._note_limit(prepared.config)
        return asked

    def _note_limit(self, settings: ExperimentConfig) -> None:
        """How many trials the study will have in all, for `convnas status`: NNI counts its own."""
        with suppress(OSError, TypeError, KeyError):
            limit = self._api("GET", "experiment")["params"]["maxTrialNumber"]
            known = [number for number, _ in self._jobs()]
            trials = self._study.get_trials(deepcopy=False)
            running = [t.number for t in trials if t.state == TrialState.RUNNING]
            adopted = [number for number in running if number not in known]
            # What NNI will still start: its limit, less what it has started. Of these the adopted
            # are in the study already.
            total = len(trials) + limit - len(known) - len(adopted)
            self._run.write_config(settings.model_copy(update={"trials": max(1, total)}))

    def room(self, asked: int) -> int:
        """NNI asks for more than its maxTrialNumber when several trials end at once."""
        try:
            limit = self._api("GET", "experiment")["params"].get("maxTrialNumber")
            jobs = self._jobs()
        except (OSError, TypeError):
            return asked
        # Trials made by hand in NNI's pages have no number, and count all the same.
        started = len(jobs) + len(self._given - {number for number, _ in jobs})
        return asked if limit is None else max(0, min(asked, int(limit) - started))

    def given(self, proposal: Proposal) -> None:
        self._given.add(proposal.trial.number)

    def nothing_left(self, exhausted: bool) -> None:
        if exhausted:
            self._run.log("every architecture inside the budget has been tried")
            # Else NNI would wait for more until it is stopped.
            with suppress(OSError, TypeError):
                profile = self._api("GET", "experiment")
                jobs = self._jobs()
                waiting = self._given - {number for number, _ in jobs}
                profile["params"]["maxTrialNumber"] = len(jobs) + len(waiting)
                self._api("PUT", "experiment?update_type=MAX_TRIAL_NUM", profile)

    def result(self, number: int, value: Any, job: str) -> None:
        if (proposal := self._open_trial(number)) is not None:
            self._trials.start(proposal)
            try:
                self._trials.hear(scored(number, value, self._curve(job)))
            except ValueError as e:
                self._trials.fail(proposal.trial, str(e))
        self._trials.take_stock()

    def ended(self, number: int, success: bool) -> None:
        if (proposal := self._open_trial(number)) is None:
            return
        job = dict(self._jobs()).get(number, {})
        curve = self._curve(str(job.get("trialJobId")))
        if job.get("status") == "EARLY_STOPPED" and curve:
            self._trials.start(proposal)
            value = {"default": curve[-1], "pruned": 1}
            self._trials.hear(scored(number, value, curve))
        else:
            self._trials.fail(proposal.trial, _reason(str(job.get("status")), success))

    def fatal(self, reason: str) -> None:
        if hasattr(self, "_run"):
            with suppress(OSError):
                self._run.log(f"the tuner has ended: {reason}")

    def close(self) -> None:
        if hasattr(self, "_storage"):
            with suppress(Exception):  # a trial may still be writing
                records.close(self._storage)

    def _open_trial(self, number: int) -> Proposal | None:
        """The trial where nobody has told the study of its end."""
        trials = self._study.get_trials(deepcopy=False)
        if not 0 <= number < len(trials) or trials[number].state != TrialState.RUNNING:
            return None
        trial: FrozenTrial = trials[number]
        if "score" in trial.user_attrs:
            records.tell_kept(self._study, trial)
            return None
        architecture = Architecture.from_dict(trial.user_attrs["architecture"])
        return Proposal(Trial(self._study, trial._trial_id), architecture)

    def _api(self, method: str, route: str, body: object = None) -> Any:
        # A new connection each time: NNI closes one that has been idle for some seconds.
        with closing(Rest(self._port, prefix=self._prefix)) as rest:
            return rest.api(method, route, body)

    def _jobs(self) -> list[tuple[int | None, dict[str, Any]]]:
        """The number and NNI's record of every trial it has started. OSError where it is gone."""
        return [
            (json.loads(job["hyperParameters"][0])["parameter_id"], job)
            for job in self._api("GET", "trial-jobs") or []
            if job.get("hyperParameters")
        ]

    def _curve(self, job: str) -> tuple[float, ...]:
        """The scores that the trial has reported, epoch by epoch."""
        try:
            metrics = self._api("GET", f"metric-data/{job}?type=PERIODICAL") or []
            ordered = sorted(metrics, key=lambda metric: int(metric["sequence"]))
            points = [point(json.loads(metric["data"])) for metric in ordered]
            return tuple(each for each in points if each is not None)
        except (OSError, KeyError, TypeError, ValueError):
            return ()


def _reason(status: str, success: bool) -> str:
    if status == "USER_CANCELED":
        return "canceled in NNI, or its process was killed (out of memory?)"
    if status == "EARLY_STOPPED":
        return "stopped early by NNI, before its first report"
    if success:
        return "its NNI trial ended without a final result"
    return "its NNI trial failed; its stderr, in NNI's pages, may say why"
