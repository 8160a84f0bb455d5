"""Least squares from a prior, on pixels of feature maps: what moves a kernel to where it should be.

Written for far more numbers than pixels: a layer of 512 channels has 4,608 numbers a filter.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

_PIXELS = 2048
"""Of all maps, drawn once: the cost of a fit grows with the square of their number."""
_RIDGE = 0.01
"""Of the features' mean square along the directions that the pixels span."""


def patches(maps: Tensor, size: int, stride: int, padding: int) -> Tensor:
    """(N, C, H, W) -> (N, C * size**2, H', W'): what each pixel of a convolution reads."""
    height, width = (-(-side // stride) for side in maps.shape[2:])
    windows = F.unfold(maps, size, padding=padding, stride=stride)
    return windows.view(len(maps), -1, height, width)


class Rows(NamedTuple):
    """features: (n, F) what pixels read; targets: (n, out) what they should give."""

    features: Tensor
    targets: Tensor

    @classmethod
    def drawn(cls, features: Tensor, targets: Tensor) -> Rows:
        """Pixels of (N, F, H, W) and (N, out, H, W), the same ones each time."""
        pixels = features.shape[0] * features.shape[2] * features.shape[3]
        generator = torch.Generator().manual_seed(0)
        chosen = torch.randperm(pixels, generator=generator)[:_PIXELS].to(features.device)
        flat = (maps.permute(0, 2, 3, 1).flatten(0, 2)[chosen] for maps in (features, targets))
        return cls(*flat)


def fitted(prior: Tensor, features: Tensor, targets: Tensor) -> Tensor:
    """(out, F) weights whose features @ weights.T are the targets in least squares, their distance
    from `prior` (out, F) being paid for: prior + argmin_d |X d - (y - X prior)|^2 + ridge |d|^2."""
    x, missed = features.double(), (targets - features @ prior.T).double()
    count = min(x.shape)
    ridge = _RIDGE * float(x.square().sum()) / count
    if ridge == 0:
        return prior
    # The smaller of the two systems that have the same solution.
    wide = x.shape[1] > x.shape[0]
    gram = x @ x.T if wide else x.T @ x
    gram.diagonal().add_(ridge)
    solved = torch.cholesky_solve(missed if wide else x.T @ missed, torch.linalg.cholesky(gram))
    change = x.T @ solved if wide else solved
    return prior + change.T.to(prior.dtype)
