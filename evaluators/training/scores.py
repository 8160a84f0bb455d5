"""What of a training's metrics can be its score; higher is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping

SCORES: dict[str, Callable[[Mapping[str, float]], float]] = {
    "accuracy": lambda metrics: metrics["accuracy"],
    "train_loss_sum": lambda metrics: -metrics["train_loss_sum"],
    "loss": lambda metrics: -metrics["loss"],
}
"""`train_loss_sum`: the mean training loss summed over the epochs (Ru et al., arXiv 2006.04492)."""
