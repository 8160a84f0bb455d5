"""Architecture to network."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from ..architecture import Architecture
from ..layers.hetconv_execution import ExecutionTable
from .plan import plan


class Network(nn.Module):
    """stem, stages, head. (N, channels, height, width) images to (N, classes) logits."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        layout = plan(architecture)
        self.architecture = architecture
        self.stem = layout.stem.build() if layout.stem else nn.Identity()
        stages = (nn.Sequential(*[block.build() for block in blocks]) for blocks in layout.stages)
        # These names are in every saved state dict.
        names = (f"stage{i}" for i in range(1, len(layout.stages) + 1))
        self.stages = nn.Sequential(OrderedDict(zip(names, stages, strict=True)))
        self.head = layout.head.build()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.stages(self.stem(x)))
        return logits


def build_network(
    architecture: Architecture, *, execution: ExecutionTable | None = None
) -> Network:
    """The network of an architecture, freshly initialised from torch's global generator.

    `execution` says how HetConv layers run where it has measured their shape; parameters and
    outputs are the same, up to rounding, whatever it says. Its last stage may be an octave one: the
    head averages both frequencies into one vector. Raises InputError where a choice cannot be built
    on its stage's channels.
    """
    network = Network(architecture)
    if execution is not None:
        execution.apply(network)
    return network
