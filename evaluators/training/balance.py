"""For data whose classes are of unequal size: weights in the loss, and how an epoch is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...search_space import InputError

BALANCED = "balanced"


def class_weights(
    wanted: str | Sequence[float] | None, labels: Tensor, classes: int
) -> Tensor | None:
    """(classes,) float32 where the labels are; None: all count the same.

    `balanced`: examples / (classes x examples of the class), as scikit-learn's
    compute_class_weight. InputError for a list of another length.
    """
    if wanted is None:
        return None
    if isinstance(wanted, str):
        # A class without examples has a weight that nothing is multiplied by.
        counts = torch.bincount(labels, minlength=classes).clamp(min=1)
        return (len(labels) / (classes * counts.double())).float()
    if len(wanted) != classes:
        raise InputError("class_weights", list(wanted), f"a weight for each of {classes} classes")
    return torch.tensor(wanted, dtype=torch.float32, device=labels.device)


class EpochOrder:
    """The examples of each epoch, drawn from `generator`, which is on the CPU.

    sampler: None, each example once; `balanced`, as many as there are, drawn with replacement so
    that every class is equally frequent (torch's WeightedRandomSampler).
    """

    def __init__(self, sampler: str | None, labels: Tensor, generator: torch.Generator) -> None:
        self._count, self._generator = len(labels), generator
        self._chances: Tensor | None = None
        if sampler == BALANCED:
            on_cpu = labels.cpu()
            self._chances = 1 / torch.bincount(on_cpu).double()[on_cpu]

    def draw(self) -> Tensor:
        """(N,) int64, on the CPU."""
        if self._chances is None:
            return torch.randperm(self._count, generator=self._generator)
        return torch.multinomial(
            self._chances, self._count, replacement=True, generator=self._generator
        )
