"""The four paths of an octave convolution, and how a map goes from one frequency to the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from ..frequency import low_channels

_GREATEST_BY_SIZE = 4096
"""torch divides the sizes in float32, which is wrong by a row for some odd ones from 4,189 on; a
factor of 2 is exact, but leaves an odd size to be cropped."""


@dataclass(frozen=True)
class Path:
    """One of the four convolutions inside an octave convolution."""

    inputs: int
    outputs: int
    groups: int


@lru_cache(maxsize=4096)
def octave_paths(
    in_channels: int, out_channels: int, alpha_in: float, alpha_out: float, groups: int = 1
) -> dict[str, Path]:
    """The paths that exist, by name ("high_to_low"). Raises ValueError where groups do not fit."""
    low_in, low_out = low_channels(in_channels, alpha_in), low_channels(out_channels, alpha_out)
    inputs = {"high": in_channels - low_in, "low": low_in}
    outputs = {"high": out_channels - low_out, "low": low_out}
    depthwise = groups > 1 and groups == in_channels == out_channels
    if depthwise and low_in != low_out:
        raise ValueError("a depthwise octave convolution cannot change alpha")
    # Every caller gets this one, as it is cached: it must not be changed.
    paths = {}
    for source, n_in in inputs.items():
        for target, n_out in outputs.items():
            if n_in == 0 or n_out == 0 or (depthwise and source != target):
                continue
            count = min(n_out, groups)
            if n_in % count or n_out % count:
                raise ValueError(
                    f"{count} groups do not divide the {source}-to-{target} path's {n_in} input"
                    f" and {n_out} output channels"
                )
            paths[f"{source}_to_{target}"] = Path(n_in, n_out, count)
    return paths


def pooled(x: Tensor) -> Tensor:
    """2x2 average; the odd last row and column average what is there."""
    return F.avg_pool2d(x, 2, ceil_mode=True)


def upsampled(low: Tensor, high: Tensor) -> Tensor:
    """Every pixel of `low` four times, cropped to the size of `high`: an odd H has ceil(H/2) low
    rows, which a factor of 2 would make one too many."""
    height, width = high.shape[-2:]
    # A traced graph is run at other sizes than the one it was made at. torch.jit has no types.
    traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if not traced and max(height, width) <= _GREATEST_BY_SIZE:
        return F.interpolate(low, size=(height, width), mode="nearest")
    return F.interpolate(low, scale_factor=2, mode="nearest")[..., :height, :width]
