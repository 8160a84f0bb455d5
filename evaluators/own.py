"""An evaluator of the user's own, whose score is one of its metrics: the first objective."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..search_space import Architecture
from .base import ACCURACY, Evaluation, EvaluationError, Report, keep_going


class OwnEvaluator(Protocol):
    """As `Evaluator`, but it may leave the score out: metrics by name are enough."""

    def evaluate(
        self, arch: Architecture, *, seed: int, report: Report = keep_going
    ) -> Evaluation | Mapping[str, float]:
        """As `Evaluator.evaluate` does."""
        ...


class ScoredBy:
    """Scores by the metric `objective`, at the end and in each report that has it.

    With `accuracy` an `Evaluation` keeps the score it has. Of metrics alone the curve is what was
    reported, and the trial is pruned where the last report was told to stop.
    """

    def __init__(self, own: OwnEvaluator, objective: str) -> None:
        self._own, self._objective = own, objective

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def evaluate(self, arch: Architecture, *, seed: int, report: Report = keep_going) -> Evaluation:
        name, curve, stopped = self._objective, list[float](), False

        def tell(epoch: int, metrics: Mapping[str, float]) -> bool:
            nonlocal stopped
            if name in metrics and (name != ACCURACY or "score" not in metrics):
                metrics = {**metrics, "score": metrics[name]}
            if "score" in metrics:
                curve.append(metrics["score"])
            stopped = report(epoch, metrics)
            return stopped

        result = self._own.evaluate(arch, seed=seed, report=tell)
        if isinstance(result, Mapping):
            metrics, pruned = dict(result), stopped
        elif name == ACCURACY:
            return result
        else:
            metrics, pruned = result.metrics, result.pruned
        if name not in metrics:
            known = ", ".join(sorted(metrics)) or "none"
            raise EvaluationError(f"the evaluator measures no {name}; its metrics: {known}")
        return Evaluation(metrics[name], metrics, tuple(curve), pruned=pruned)
