"""Multi-fidelity that stops and never pauses: a trial goes on while among the best of its rung.

Rungs are epochs: min_epochs * eta^k. At a rung a trial goes on while it is in the top 1/eta of all
that have reported there (Li et al., ASHA, MLSys 2020, arXiv 1810.05934, in its stopping form: what
has been stopped is never taken up again). Hyperband (Li et al., JMLR 2018, arXiv 1603.06560) has
brackets whose first rung is later, and trials take turns among them.

A rung is worth something only if its ranking is that of the end. So the first trials and every
tenth later one are controls, never stopped, and the rank correlation of a rung is measured on
them. A rung whose Kendall's tau is below one half is switched off, with a warning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ..config.schema import ExperimentConfig

CONTROLS = 8
_EVERY = 10
LEAST_TAU = 0.5


@dataclass(frozen=True)
class Rung:
    """What is known of a rung: tau against the final score, over `trials` controls."""

    epoch: int
    tau: float
    trials: int

    @property
    def on(self) -> bool:
        """Whether it may stop trials: until enough controls say that it does not predict."""
        return self.trials < CONTROLS or not self.tau < LEAST_TAU

    def to_dict(self) -> dict[str, Any]:
        tau = None if math.isnan(self.tau) else round(self.tau, 4)
        return {"epoch": self.epoch, "tau": tau, "trials": self.trials, "on": self.on}

    def __str__(self) -> str:
        return (
            f"rung of epoch {self.epoch}: tau {self.tau:.2f} with the final ranking of "
            f"{self.trials} trials"
        )


def is_control(number: int) -> bool:
    """Whether the trial of this number is never stopped: the first few, then every tenth."""
    return number < CONTROLS or number % _EVERY == 0


def correlations(trials: Iterable[FrozenTrial], epochs: Sequence[int]) -> list[Rung]:
    """Kendall's tau of the scores at each epoch with the final ones, over the control trials."""
    from scipy.stats import kendalltau

    # Controls alone: any other trial that finished was chosen by its scores at these rungs,
    # and a correlation over the chosen tends to be too low.
    finished = [
        t for t in trials if t.state == TrialState.COMPLETE and t.values and is_control(t.number)
    ]
    rungs = []
    for epoch in epochs:
        # Not where the rung is the trial's last epoch, which would be compared with itself.
        pairs = [
            (t.intermediate_values[epoch], t.values[0])
            for t in finished
            if epoch in t.intermediate_values and epoch < max(t.intermediate_values)
        ]
        tau = math.nan
        if len(pairs) > 1 and all(len(set(side)) > 1 for side in zip(*pairs, strict=True)):
            tau = float(kendalltau(*zip(*pairs, strict=True)).statistic)
        rungs.append(Rung(epoch, tau, len(pairs)))
    return rungs


class RungPruner(optuna.pruners.BasePruner):
    """epochs: of a whole training; `brackets`: 1 for ASHA, None for all of Hyperband's.

    `warn` is told once of each rung that is switched off (or on again).
    """

    def __init__(
        self,
        epochs: int,
        *,
        eta: int,
        min_epochs: int,
        brackets: int | None,
        warn: Callable[[str], None],
    ) -> None:
        self.eta, self._warn = eta, warn
        self.epochs = rung_epochs(epochs, eta=eta, min_epochs=min_epochs)
        # One more than there are rungs: the last bracket passes by all of them, and is never cut.
        most = len(self.epochs) + 1
        self.brackets = most if brackets is None else min(brackets, most)
        self._off: set[int] = set()

    def bracket(self, number: int) -> int:
        """How many first rungs a trial passes by; Hyperband's shares, in turns."""
        most = self.brackets - 1
        # n of Hyperband's Algorithm 1, ceil(B / R * eta^s / (s + 1)) with B = (s_max + 1) R; the
        # bracket with the most trials, s = s_max, has the earliest rung and is number 0.
        shares = [math.ceil((most + 1) / (s + 1) * self.eta**s) for s in range(most, -1, -1)]
        turn = number % sum(shares)
        return next(i for i, end in enumerate(accumulate(shares)) if turn < end)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        epoch = trial.last_step
        bracket = self.bracket(trial.number)
        if epoch not in self.epochs[bracket:] or is_control(trial.number):
            return False
        trials = study.get_trials(deepcopy=False)
        (rung,) = correlations(trials, [epoch])
        self._note(rung)
        if not rung.on:
            return False
        mine = trial.intermediate_values[epoch]
        others = [
            other.intermediate_values[epoch]
            for other in trials
            if other.number != trial.number and epoch in other.intermediate_values
            if self.bracket(other.number) == bracket
        ]
        if len(others) + 1 < self.eta:
            return False
        # Only those strictly better count, so equals go on together.
        better = sum(value > mine for value in others)
        return better >= max(1, (len(others) + 1) // self.eta)

    def _note(self, rung: Rung) -> None:
        if rung.on != (rung.epoch not in self._off):
            self._off ^= {rung.epoch}
            what = "stops trials again" if rung.on else "predicts too little, it is switched off"
            self._warn(f"warning: {rung}: it {what}" if rung.on else f"warning: {rung}; {what}")


def rung_epochs(epochs: int, *, eta: int, min_epochs: int) -> list[int]:
    """The rungs before the last epoch, where there is nothing left to save."""
    found = []
    while min_epochs < epochs:
        found.append(min_epochs)
        min_epochs *= eta
    return found


def pruner_of(config: ExperimentConfig, warn: Callable[[str], None]) -> optuna.pruners.BasePruner:
    """What the config's `pruner:` means; `warn` takes one line for people."""
    settings = config.pruner
    if settings.has_rungs:
        return RungPruner(
            config.epochs,
            eta=settings.eta,
            min_epochs=settings.min_epochs,
            brackets=1 if settings.name == "asha" else None,
            warn=warn,
        )
    if settings.name == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(
        n_startup_trials=settings.startup_trials, n_warmup_steps=settings.warmup_epochs
    )
