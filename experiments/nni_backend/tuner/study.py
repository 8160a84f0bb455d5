"""What the tuner gives out next: the study is asked, and N trials in all are never exceeded."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from optuna.trial import TrialState

from ...run import study as records
from ...run.directory import RunDirectory
from ...search.prepare import Prepared
from ...search.propose import Proposal, Proposer
from ..parameters import nni_parameters


class TunerStudy:
    """The study of `run`, asked from the tuner's process. `limit`: trials in all, None for any."""

    def __init__(self, run: RunDirectory, prepared: Prepared, *, limit: int | None) -> None:
        self._limit = limit
        self.feasible = prepared.feasible
        self.storage = records.open_storage(run.study_path)
        records.write_quickly(self.storage)
        self.study = records.open_study(self.storage, sampler=prepared.strategy)
        self._proposer = Proposer(self.study, self.feasible, refuse=self._refuse, log=run.log)

    @property
    def exhausted(self) -> bool:
        return self._proposer.exhausted

    def start(self, but: Collection[int]) -> None:
        """Adopt what is left running, save the trials that NNI itself starts again."""
        self._proposer.take_stock(self.study.get_trials(deepcopy=False), but)

    def next(self) -> Proposal | None:
        """What an earlier run left, else a new trial; None at the limit or where all is tried."""
        if (left := self._proposer.left()) is not None:
            return left
        while not self._proposer.exhausted:
            if self._limit is not None and self._count() >= self._limit:
                return None
            if (proposal := self._proposer.new()) is not None:
                return proposal
        return None

    def _count(self) -> int:
        return sum(records.count(self.study.get_trials(deepcopy=False)).values())

    def nni_parameters(self, proposal: Proposal) -> dict[str, Any]:
        params = self.feasible.params(proposal.architecture)
        return nni_parameters(params, self.feasible.distributions)

    def _refuse(self, trial: Any, reason: str) -> None:
        trial.set_user_attr("reason", reason)
        self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
