"""How a network is trained: the recipe, and the switches of the fast path."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...search_space import ExecutionTable
from ..settings import Settings, execution_table, flag, flag_or, integer, one_of, real, setting
from .balance import BALANCED
from .metrics import KNOWN, is_class_metric


def _weights_problem(value: object) -> str | None:
    if value is None or value == BALANCED:
        return None
    good = isinstance(value, list | tuple) and all(
        isinstance(each, int | float) and not isinstance(each, bool) and 0 < each < math.inf
        for each in value
    )
    return None if good and value else "balanced, a number above 0 for each class, or null"


def _sampler_problem(value: object) -> str | None:
    return None if value in (None, BALANCED) else "balanced, or null: every example once an epoch"


def _metrics_problem(value: object) -> str | None:
    if value is None or (isinstance(value, list | tuple) and all(map(is_class_metric, value))):
        return None
    return f"a list of: {KNOWN}; or null"


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """The recipe, then the switches, every one of which can be turned off.

    `batch_size` is an upper limit: an epoch is cut into equal batches of at most that many
    examples. `learning_rate` is the peak of the one cycle; null takes `PEAK_RATE`'s for the
    optimizer. `flip`, `crop` and `cutout` are `Augment`'s; `mixup` is the alpha of `Mixup`, 0 for
    none; `ema` the decay of the `MovingAverage` that is measured and kept, 0 for none.
    For skewed data: `class_weights` in the loss, and `sampler: balanced`, which draws every class
    equally often, see `balance.py`. `metrics`: those of `ClassMetrics` to measure, too.

    `uint8` keeps bytes as bytes on the device, a quarter of the memory; `fused` takes torch's fused
    optimizers. On CUDA only: `bf16` autocast (`always`: on a CPU too, where few are faster for it),
    `cuda_graph` (a whole step, and a batch's validation, as one launch each; where that cannot be
    recorded, and without `fused`, piece by piece), `benchmark` (cuDNN tries its algorithms on each
    new shape). `deterministic` makes two runs with one seed equal to the last bit on one machine,
    at the cost of speed; it overrules `benchmark`. `execution`: what `convnas tune` measured, for
    networks trained on the kind of device that it was measured on.
    """

    epochs: int = integer(5, at_least=1)
    batch_size: int = integer(64, at_least=2)
    optimizer: str = one_of("sgd", "adamw")
    learning_rate: float | None = real(None, above=0)
    weight_decay: float = real(5e-4, low=0)
    label_smoothing: float = real(0.1, low=0, below=1)
    flip: bool = flag(False)
    crop: int = integer(0, at_least=0)
    cutout: int = integer(0, at_least=0)
    mixup: float = real(0.0, low=0)
    ema: float = real(0.0, low=0, below=1)
    class_weights: str | Sequence[float] | None = setting(None, _weights_problem)
    sampler: str | None = setting(None, _sampler_problem)
    metrics: Sequence[str] | None = setting(None, _metrics_problem)
    uint8: bool = flag(True)
    channels_last: bool = flag(True)
    bf16: bool | str = flag_or(True, "always")
    fused: bool = flag(True)
    cuda_graph: bool = flag(True)
    benchmark: bool = flag(True)
    deterministic: bool = flag(False)
    execution: Mapping[str, Any] | None = execution_table()

    def table(self, device: torch.device) -> ExecutionTable | None:
        """The executions measured for this kind of device; None: those of the rule."""
        table = ExecutionTable.from_dict(self.execution) if self.execution is not None else None
        return table if table is not None and table.device == device.type else None

    @property
    def layout(self) -> torch.memory_format:
        """How feature maps lie in memory."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def records(self, micro_batch: int | None) -> bool:
        """Whether steps may be recorded as graphs. A step in pieces is one for which memory ran
        short, and a recording keeps memory; other optimizers than fused ones wait in their step."""
        return self.cuda_graph and self.fused and micro_batch is None

    def autocasts(self, device: torch.device) -> bool:
        """Whether the passes run in bfloat16 there."""
        return self.bf16 == "always" or (self.bf16 is True and device.type == "cuda")
