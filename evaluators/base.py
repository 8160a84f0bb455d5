"""What an evaluator is: something that gives an architecture a score, higher is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..search_space import Architecture

ACCURACY = "accuracy"
"""The metric that is the score where no objective names another."""

Report = Callable[[int, Mapping[str, float]], bool]
"""Called after every epoch with its number, from 1, and its metrics. True means: stop now, the
trial is pruned. After the last epoch there is nothing left to stop and the answer is ignored."""


class EvaluationError(RuntimeError):
    """This architecture could not be scored; the message is the reason in plain words.

    It ends one trial, never a search: the next architecture may do well.
    """


@dataclass(frozen=True)
class Evaluation:
    """A score and what else was seen on the way.

    `metrics` are of the last epoch that ran; times in seconds, memory in MiB. `curve` is the score
    after every epoch, empty for an evaluator that has no epochs. A pruned evaluation's score is
    the one it had reached.
    """

    score: float
    metrics: dict[str, float]
    curve: tuple[float, ...] = ()
    pruned: bool = False


def keep_going(epoch: int, metrics: Mapping[str, float]) -> bool:
    """The report that listens to nothing and never stops."""
    return False


class Evaluator(Protocol):
    """What an evaluator is: any object with this one method."""

    def evaluate(self, arch: Architecture, *, seed: int, report: Report = keep_going) -> Evaluation:
        """Score `arch`. The same seed gives the same evaluation on a CPU, times aside.

        The caller's random state is left as it was. Raises EvaluationError where there is no score
        to give, and ValueError for an architecture that this evaluator's data does not fit.
        """
        ...
