"""The training loop: the one place where weights change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..search_space import ExecutionTable
from .base import EvaluationError, Report, keep_going
from .data import Split
from .settings import Settings, execution_table, flag, integer, one_of, real

PEAK_RATE = {"sgd": 0.1, "adamw": 0.01}
WARM_UP = 0.25  # the share of all steps in which the rate rises to its peak


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """How a network is trained.

    `batch_size` is an upper limit: an epoch is cut into equal batches of at most that many
    examples. `learning_rate` is the peak of the one cycle; null takes PEAK_RATE's for the
    optimizer. `bf16` matters on CUDA only. `execution`: what `convnas tune` measured, for networks
    trained on the kind of device that it was measured on.
    """

    epochs: int = integer(5, at_least=1)
    batch_size: int = integer(64, at_least=2)
    optimizer: str = one_of("sgd", "adamw")
    learning_rate: float | None = real(None, above=0)
    weight_decay: float = real(5e-4, low=0)
    label_smoothing: float = real(0.1, low=0, below=1)
    channels_last: bool = flag(True)
    bf16: bool = flag(True)
    execution: Mapping[str, Any] | None = execution_table()

    def table(self, device: torch.device) -> ExecutionTable | None:
        """The executions measured for this kind of device; None: those of the rule."""
        table = ExecutionTable.from_dict(self.execution) if self.execution is not None else None
        return table if table is not None and table.device == device.type else None


@dataclass(frozen=True)
class History:
    """The metrics after every epoch that ran, and whether the report stopped it before the end."""

    epochs: tuple[dict[str, float], ...]
    stopped: bool


def train_network(
    net: nn.Module,
    train: Split,
    validation: Split | None,
    settings: TrainingSettings,
    *,
    seed: int,
    device: torch.device,
    report: Report = keep_going,
) -> History:
    """Train `net` in place, on `device`, where it stays.

    The seed fixes the order of the examples. Layers that draw numbers themselves (dropout) use
    torch's global generator: see `seeded`. Metrics: `train_loss`, the epoch's mean training loss;
    `train_loss_sum`, its sum over the epochs so far; and where there is a validation split its
    `accuracy` and `loss`. Raises EvaluationError when a loss is not finite.
    """
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    half = settings.bf16 and device.type == "cuda"
    net.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    train = train.to(device)
    validation = validation and validation.to(device)
    optimizer = _optimizer(net, settings)
    # Equal batches: no last batch of one example, which batch normalisation cannot take.
    steps = math.ceil(len(train) / settings.batch_size)
    size = len(train) // steps
    # Drawn on the CPU, so that the order is the same for every device.
    generator = torch.Generator().manual_seed(seed)
    history: list[dict[str, float]] = []
    step = 0
    for epoch in range(1, settings.epochs + 1):
        net.train()
        order = torch.randperm(len(train), generator=generator).to(device)
        loss_sum = torch.zeros((), device=device)
        for batch in torch.split(order[: steps * size], size):
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * one_cycle(step / (steps * settings.epochs))
            images = train.images[batch].contiguous(memory_format=layout)
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                logits = net(images)
            loss = F.cross_entropy(
                logits.float(), train.labels[batch], label_smoothing=settings.label_smoothing
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss_sum += loss.detach()
            step += 1
        train_loss = loss_sum.item() / steps  # the epoch's first wait for the device
        _check_finite(train_loss, "training", epoch)
        metrics = {
            "train_loss": train_loss,
            "train_loss_sum": train_loss + (history[-1]["train_loss_sum"] if history else 0.0),
        }
        if validation is not None:
            metrics["accuracy"], metrics["loss"] = measure(net, validation, settings)
            _check_finite(metrics["loss"], "validation", epoch)
        history.append(metrics)
        if report(epoch, metrics) and epoch < settings.epochs:
            return History(tuple(history), stopped=True)
    return History(tuple(history), stopped=False)


@torch.inference_mode()
def measure(net: nn.Module, split: Split, settings: TrainingSettings) -> tuple[float, float]:
    """Accuracy and mean cross-entropy (no smoothing) of `net` on `split`, both on one device."""
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    device = split.images.device
    half = settings.bf16 and device.type == "cuda"
    net.eval()
    totals: Tensor = torch.zeros(2, device=device)
    batches = torch.split(split.images, settings.batch_size)
    for images, labels in zip(batches, torch.split(split.labels, settings.batch_size), strict=True):
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = net(images.contiguous(memory_format=layout))
        loss = F.cross_entropy(logits.float(), labels, reduction="sum")
        totals += torch.stack([(logits.argmax(1) == labels).sum(), loss])
    correct, loss_sum = totals.tolist()
    return correct / len(split), loss_sum / len(split)


def one_cycle(progress: float) -> float:
    """The learning rate as a share of its peak: up in a line, then down to 0 on a cosine."""
    if progress < WARM_UP:
        return 0.04 + 0.96 * progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def _optimizer(net: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    # Scales and biases, batch normalisation's among them, have one dimension and are not decayed.
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    peak = settings.learning_rate or PEAK_RATE[settings.optimizer]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay, "peak": peak},
        {"params": others, "weight_decay": 0.0, "peak": peak},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=peak, momentum=0.9, nesterov=True, fused=True)
    return torch.optim.AdamW(groups, lr=peak, fused=True)


def _check_finite(loss: float, kind: str, epoch: int) -> None:
    if not math.isfinite(loss):
        raise EvaluationError(f"the {kind} loss is {loss} after epoch {epoch}")
