"""Mixup: training on mixtures of two images and of their labels (Zhang et al., arXiv 1710.09412)."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional as F


class Mixup:
    """Image i becomes m image i + (1 - m) image N-1-i, and its label the same mixture.

    m is drawn anew for each batch, from Beta(alpha, alpha). Batches are in random order, so the
    batch turned round is as good a partner as any. The numbers depend on the seed and the step
    alone, so a resumed training draws what an uninterrupted one would have.
    """

    def __init__(self, alpha: float, classes: int, seed: int) -> None:
        self._alpha, self._classes, self._seed = alpha, classes, seed

    def __call__(self, images: Tensor, labels: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) and (N,) in; images and (N, classes) probabilities out."""
        share = float(np.random.default_rng((self._seed, step)).beta(self._alpha, self._alpha))
        targets = F.one_hot(labels, self._classes).to(images.dtype)
        mixed = (share * each + (1 - share) * each.flip(0) for each in (images, targets))
        return next(mixed), next(mixed)
