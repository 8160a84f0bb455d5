"""An octave convolution between plain maps: its two frequencies are its own affair."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..layers.modules.octave_conv2d import OctConv2d
from ..layers.modules.octave_paths import pooled, upsampled


class InnerOctConv2d(nn.Module):
    """(N, C_in, H, W) to (N, C_out, H, W): part of both is worked on at half resolution.

    source_order, out_order: all channels, those at full resolution first; `conv` is an OctConv2d of
    stride 1. What it gives at half resolution is upsampled, so whatever follows sees a plain map.
    """

    def __init__(self, conv: OctConv2d, source_order: Tensor, out_order: Tensor) -> None:
        super().__init__()
        self.conv = conv
        self.high, self.low = conv.high_in, conv.in_channels - conv.high_in
        self.register_buffer("source_order", source_order)
        self.register_buffer("places", torch.argsort(out_order))
        self.source_order: Tensor
        self.places: Tensor

    def forward(self, x: Tensor) -> Tensor:
        high, low = torch.split(x[:, self.source_order], [self.high, self.low], dim=1)
        high_out, low_out = self.conv((high, pooled(low)))
        return torch.cat([high_out, upsampled(low_out, x)], dim=1)[:, self.places]
