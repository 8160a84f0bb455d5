"""A trial's own study, where NNI and the run directory are on the trial's machine."""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from ....evaluators import Evaluation
from ....search_space import Architecture
from ...errors import RunError
from ...run import study as records
from ...run.directory import RunDirectory
from ...search.propose import Proposal
from ...search.pruning import pruner_of
from ...search.trial_log import TrialLog
from ...workers.events import Reported, Scored
from ..values import final_value


class TrialStudy:
    """Trial `number` of `run`'s study. Raises InputError where there is no study, RunError for a
    number that it does not have."""

    def __init__(self, run: RunDirectory, number: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._run, self._number = run, number
        self.config = run.read_config()
        self._storage = records.open_storage(run.study_path)
        records.write_quickly(self._storage)
        self._study = records.open_study(
            self._storage,
            sampler=optuna.samplers.RandomSampler(),  # asked for nothing
            pruner=pruner_of(self.config, run.log),
        )
        if not 0 <= number < len(self._study.get_trials(deepcopy=False)):
            raise RunError(f"the study of {run.path} has no trial {number}")
        self._trials = TrialLog(self.config, self._study, log=run.log, ended=self._note)
        self._ended: FrozenTrial | None = None

    @property
    def over(self) -> bool:
        """Whether the trial has its score already."""
        return "score" in self._frozen().user_attrs

    def start(self, architecture: Architecture) -> None:
        """Raises RunError where the trial was proposed another architecture."""
        frozen = self._frozen()
        if "key" not in frozen.user_attrs or records.key_of(frozen) != architecture.key:
            raise RunError(f"NNI's record of trial {self._number} is not the study's")
        trial = Trial(self._study, frozen._trial_id)
        self._trials.start(Proposal(trial, architecture))

    def report(self, epoch: int, metrics: Mapping[str, float]) -> bool:
        return self._trials.hear(Reported(self._number, epoch, metrics))

    def finish(self, result: Evaluation) -> None:
        """Raises RunError where the study calls it failed."""
        self._trials.hear(
            Scored(self._number, result.score, result.metrics, result.curve, result.pruned)
        )
        if self._ended is not None and self._ended.state == TrialState.FAIL:
            raise RunError(self._ended.user_attrs["reason"])

    def fail(self, reason: str) -> None:
        if self._number in self._trials.running:
            trial = self._trials.running[self._number].trial
            self._trials.fail(trial, " ".join(reason.split())[:500])

    def value(self) -> dict[str, float]:
        """The final result as NNI is told it."""
        return final_value(self._frozen(), self.config.objective_names)

    def close(self) -> None:
        self._storage.engine.dispose()

    def _frozen(self) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[self._number]

    def _note(self, ended: FrozenTrial) -> None:
        self._ended = ended
