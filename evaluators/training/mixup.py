"""Mixup: training on mixtures of two images and of their labels.

Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, arXiv 1710.09412.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Mixup:
    """Image i becomes m image i + (1 - m) image N-1-i, and its label the same mixture.

    m is drawn anew for each batch, from Beta(alpha, alpha). Batches are in random order, so the
    batch turned round is as good a partner as any. The numbers depend on the seed and the step
    alone, so a resumed training draws what an uninterrupted one would have.
    """

    def __init__(self, alpha: float, classes: int, seed: int) -> None:
        self._alpha, self._classes, self._seed = alpha, classes, seed

    def shares(self, first: int, count: int) -> Tensor:
        """(count,) float64 on the CPU: m of the steps `first`, `first` + 1, ..."""
        drawn = [
            np.random.default_rng((self._seed, step)).beta(self._alpha, self._alpha)
            for step in range(first, first + count)
        ]
        return torch.tensor(drawn, dtype=torch.float64)

    def __call__(self, images: Tensor, labels: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W), (N,) and m, without dimensions; images and (N, classes) probabilities."""
        # Not F.one_hot, which looks at the labels' values and so waits for some devices.
        classes = torch.arange(self._classes, device=labels.device)
        targets = (labels[:, None] == classes).to(images.dtype)
        # Without dimensions, the share leaves the images float32, though it is float64 itself.
        mixed = (share * each + (1 - share) * each.flip(0) for each in (images, targets))
        return next(mixed), next(mixed)
