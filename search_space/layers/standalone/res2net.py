"""Res2Net, as an exported Python module has it: short, on torch alone."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Res2NetConv2d(nn.Module):
    """Res2Net's hierarchy (Gao et al., TPAMI 2019, arXiv 1904.01169, equation 1).

    The channels are split in `scales`; the first split passes (in a stage's first block through an
    average pool), each other is convolved after the last output was added to it (not in a stage's
    first block, nor for the second split). Each convolution has a norm (folded: none) and a ReLU.
    """

    def __init__(self, channels, scales, kernel, stride, groups, stage_block, folded):
        super().__init__()
        width, count = channels // scales, max(1, scales - 1)
        self.scales, self.stride, self.stage_block = scales, stride, stage_block
        self.convs = nn.ModuleList(
            nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=groups, bias=folded)
            for _ in range(count)
        )
        self.norms = nn.ModuleList(
            nn.Identity() if folded else nn.BatchNorm2d(width) for _ in range(count)
        )

    def forward(self, x):
        if self.scales == 1:
            return F.relu(self.norms[0](self.convs[0](x)))
        first, *splits = torch.chunk(x, self.scales, dim=1)
        outputs = [F.avg_pool2d(first, 3, self.stride, 1) if self.stage_block else first]
        for i, (split, conv, norm) in enumerate(zip(splits, self.convs, self.norms)):
            if i > 0 and not self.stage_block:
                split = split + outputs[-1]
            outputs.append(F.relu(norm(conv(split))))
        return torch.cat(outputs, dim=1)
