"""The training loop: the one place where weights change."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.backends import cudnn
from torch.nn import functional as F

from ..base import EvaluationError, Report, keep_going
from ..data.split import Split
from .augment import Augment
from .average import MovingAverage
from .checkpoint import Keeper
from .mixup import Mixup
from .recipe import TrainingSettings
from .state import Course
from .step import Step

PEAK_RATE = {"sgd": 0.1, "adamw": 0.01}
WARM_UP = 0.25  # the share of all steps in which the rate rises to its peak


@dataclass(frozen=True)
class History:
    """The metrics after every epoch that ran, and whether the report stopped it before the end.

    `best_epoch`: whose network was kept, where `keep_best` was asked; else 0.
    """

    epochs: tuple[dict[str, float], ...]
    stopped: bool
    best_epoch: int = 0


def train_network(
    net: nn.Module,
    train: Split,
    validation: Split | None,
    settings: TrainingSettings,
    *,
    seed: int,
    device: torch.device,
    report: Report = keep_going,
    micro_batch: int | None = None,
    keeper: Keeper | None = None,
    keep_best: bool = False,
) -> History:
    """Train `net` in place, on `device`, where it stays.

    The seed fixes the order of the examples and the augmentation. Layers that draw numbers
    themselves (dropout) use torch's global generator: see `seeded`. `micro_batch`: see `Step`.
    `keeper` gets the state after every epoch, and may give one to go on from; the report hears of
    new epochs alone. `keep_best`: the network ends as it was after the epoch with the best
    validation, not after the last one.
    Metrics: `train_loss`, the epoch's mean training loss; `train_loss_sum`, its sum over the epochs
    so far; and where there is a validation split its `accuracy` and `loss`. Raises EvaluationError
    when a loss is not finite.
    """
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    net.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    train = (train if settings.uint8 else train.floating()).to(device)
    validation = validation and validation.to(device)
    augment = Augment(
        device, flip=settings.flip, crop=settings.crop, cutout=settings.cutout, seed=seed
    )
    mix = Mixup(settings.mixup, int(train.labels.max()) + 1, seed) if settings.mixup else None
    optimizer = _optimizer(net, settings)
    take_step = Step(net, optimizer, settings, device, micro_batch)
    average = MovingAverage(net, settings.ema) if settings.ema else None
    size = batch_size(len(train), settings)
    steps = len(train) // size
    # Drawn on the CPU, so that the order is the same for every device.
    generator = torch.Generator().manual_seed(seed)
    generators = {"order": generator, "augment": augment.generator}
    course = Course(net, optimizer, average, generators, device, keep_best=keep_best)
    if keeper is not None and (state := keeper.load()) is not None:
        course.restore(state)
    stopped = False
    with _backends(settings):
        for epoch in range(len(course.history) + 1, settings.epochs + 1):
            net.train()
            order = torch.randperm(len(train), generator=generator).to(device)
            loss_sum = torch.zeros((), device=device)
            for i, batch in enumerate(torch.split(order[: steps * size], size)):
                step = (epoch - 1) * steps + i
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * one_cycle(step / (steps * settings.epochs))
                images, labels = augment(train.batch(batch)), train.labels[batch]
                if mix is not None:
                    images, labels = mix(images, labels, step)
                loss_sum += take_step(images.contiguous(memory_format=layout), labels)
                if average is not None:
                    average.update()
            train_loss = loss_sum.item() / steps  # the epoch's first wait for the device
            _check_finite(train_loss, "training", epoch)
            before = course.history[-1]["train_loss_sum"] if course.history else 0.0
            metrics = {"train_loss": train_loss, "train_loss_sum": train_loss + before}
            with average.applied() if average is not None else nullcontext():
                if validation is not None:
                    accuracy, loss = measure(net, validation, settings, micro_batch)
                    _check_finite(loss, "validation", epoch)
                    metrics |= {"accuracy": accuracy, "loss": loss}
                course.add(metrics)
            if keeper is not None:
                keeper.save(course.to_dict())
            stopped = report(epoch, metrics) and epoch < settings.epochs
            if stopped:
                break
    course.finish()
    return History(tuple(course.history), stopped, course.best_epoch)


def batch_size(examples: int, settings: TrainingSettings) -> int:
    """Of an epoch's equal batches: no last batch of one, which batch normalisation cannot take."""
    return examples // math.ceil(examples / settings.batch_size)


@torch.inference_mode()
def measure(
    net: nn.Module, split: Split, settings: TrainingSettings, micro_batch: int | None = None
) -> tuple[float, float]:
    """Accuracy and mean cross-entropy (no smoothing) of `net` on `split`, both on one device."""
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    device = split.pixels.device
    half = settings.autocasts(device)
    size = micro_batch or settings.batch_size
    net.eval()
    totals: Tensor = torch.zeros(2, device=device)
    for start in range(0, len(split), size):
        chosen = slice(start, start + size)
        images, labels = split.batch(chosen), split.labels[chosen]
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
        return torch.optim.SGD(groups, lr=peak, momentum=0.9, nesterov=True, fused=settings.fused)
    return torch.optim.AdamW(groups, lr=peak, fused=settings.fused)


@contextmanager
def _backends(settings: TrainingSettings) -> Iterator[None]:
    """torch's global switches as the settings say, and afterwards as they were."""
    before = cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled()
    if settings.deterministic:
        # Without it cuBLAS may take different workspaces, and torch refuses to promise anything.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    cudnn.benchmark = settings.benchmark and not settings.deterministic
    cudnn.deterministic = settings.deterministic
    torch.use_deterministic_algorithms(settings.deterministic or before[2])
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before[:2]
        torch.use_deterministic_algorithms(before[2])


def _check_finite(loss: float, kind: str, epoch: int) -> None:
    if not math.isfinite(loss):
        raise EvaluationError(f"the {kind} loss is {loss} after epoch {epoch}")
