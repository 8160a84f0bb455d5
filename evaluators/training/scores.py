"""What of a training's metrics can be its score; higher is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter

from .metrics import KNOWN, is_class_metric

Score = Callable[[Mapping[str, float]], float]

SCORES: dict[str, Score] = {
    "accuracy": lambda metrics: metrics["accuracy"],
    "train_loss_sum": lambda metrics: -metrics["train_loss_sum"],
    "loss": lambda metrics: -metrics["loss"],
}
"""`train_loss_sum`: the mean training loss summed over the epochs (Ru et al., arXiv 2006.04492)."""


def score_problem(name: object) -> str | None:
    """What is allowed, if this is no score."""
    if (isinstance(name, str) and name in SCORES) or is_class_metric(name):
        return None
    return f"choose from: {', '.join(SCORES)}; {KNOWN}"


def score_of(name: str) -> Score:
    """Of a name without a problem; other metrics are their own score."""
    return SCORES.get(name) or itemgetter(name)
