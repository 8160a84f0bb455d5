"""The training loop: the one place where weights change."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.backends import cudnn

from ..base import ACCURACY, EvaluationError, Report, keep_going
from ..data.split import Split
from .augment import Augment
from .average import MovingAverage
from .balance import EpochOrder, class_weights
from .capture import Recorder, Run
from .checkpoint import Keeper
from .metrics import ClassMetrics
from .mixup import Mixup
from .recipe import TrainingSettings
from .state import TrainingState
from .step import TrainingStep
from .validation import Validation

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
    keep_best: str | bool = False,
    recorder: Recorder | None = None,
    metrics: ClassMetrics | None = None,
) -> History:
    """Train `net` in place, on `device`, where it stays.

    The seed fixes the order of the examples and the augmentation. Layers that draw numbers
    themselves (dropout) use torch's global generator: see `seeded`. `micro_batch`: see
    `TrainingStep`. `keeper` gets the state after every epoch, and may give one to go on from; the
    report hears of new epochs alone. `keep_best`: a metric of the validation, or True, accuracy;
    the network ends as it was after the epoch where that was best, not after the last one.
    `recorder`: of this device; with it a step is one launch, where the settings allow that.
    Metrics: `train_loss`, the epoch's mean training loss; `train_loss_sum`, its sum over the epochs
    so far; and where there is a validation split its `accuracy` and `loss`, and the values of
    `metrics`, which is made for that split. Raises EvaluationError when a loss is not finite.
    """
    if not settings.records(micro_batch):
        recorder = None
    with recorder.current() if recorder is not None else nullcontext(), _backends(settings):
        net.to(device=device, memory_format=settings.layout)  # type: ignore[call-overload]
        train = (train if settings.uint8 else train.floating()).to(device)
        optimizer = _optimizer(net, settings, device)
        # Only now: it holds on to the tensors that the network has on its device.
        average = MovingAverage(net, settings.ema) if settings.ema else None
        augment = Augment(
            device, flip=settings.flip, crop=settings.crop, cutout=settings.cutout, seed=seed
        )
        step = TrainingStep(
            net,
            optimizer,
            train,
            settings,
            size=batch_size(len(train), settings),
            augment=augment,
            mix=Mixup(settings.mixup, train.classes, seed) if settings.mixup else None,
            average=average,
            micro_batch=micro_batch,
            class_weights=class_weights(settings.class_weights, train.labels, train.classes)
            if settings.class_weights is not None
            else None,
        )
        validate = None
        if validation is not None:
            split = validation.to(device)
            validate = Validation(
                net, split, settings, recorder=recorder, micro_batch=micro_batch, metrics=metrics
            )
        # Drawn on the CPU, so that the order is the same for every device.
        order = torch.Generator().manual_seed(seed)
        generators = {"order": order, "augment": augment.generator}
        best_by = ACCURACY if keep_best is True else keep_best or None
        epoch_order = EpochOrder(settings.sampler, train.labels, order)
        state = TrainingState(net, optimizer, average, generators, device, keep_best=best_by)
        if keeper is not None and (kept := keeper.load()) is not None:
            state.restore(kept)
        peak, steps = settings.learning_rate or PEAK_RATE[settings.optimizer], step.steps
        begun, stopped = len(state.history), False
        take_step: Run = step
        for epoch in range(begun + 1, settings.epochs + 1):
            net.train()
            first = (epoch - 1) * steps
            rates = [
                peak * one_cycle((first + i) / (steps * settings.epochs)) for i in range(steps)
            ]
            step.begin(epoch_order.draw(), rates, first)
            if recorder is not None and epoch == begun + 1:
                # After `begin`: it is tried on this epoch's batches, then all is put back.
                take_step = step.captured(recorder) or step
            for _ in range(steps):
                step.fetch()
                take_step()
            train_loss = step.loss_sum.item() / steps  # the epoch's first wait for the device
            _check_finite(train_loss, "training", epoch)
            before = state.history[-1]["train_loss_sum"] if state.history else 0.0
            reached = {"train_loss": train_loss, "train_loss_sum": train_loss + before}
            with average.applied() if average is not None else nullcontext():
                if validate is not None:
                    accuracy, loss = validate()
                    _check_finite(loss, "validation", epoch)
                    reached |= {"accuracy": accuracy, "loss": loss}
                    reached |= metrics.values() if metrics is not None else {}
                state.add(reached)
            # Outside `applied`: a training goes on from the network's own weights. And before the
            # report: killed in between, the epoch is not trained again, but no report hears of it.
            if keeper is not None:
                keeper.save(state.to_dict())
            stopped = report(epoch, reached) and epoch < settings.epochs
            if stopped:
                break
        state.finish()
    return History(tuple(state.history), stopped, state.best_epoch)


def batch_size(examples: int, settings: TrainingSettings) -> int:
    """Of an epoch's equal batches: none of one, which batch normalisation cannot take."""
    # An odd number of examples in pairs comes out as one each: then one example is left out.
    return max(min(2, examples), examples // math.ceil(examples / settings.batch_size))


def one_cycle(progress: float) -> float:
    """The learning rate as a share of its peak: up in a line, then down to 0 on a cosine."""
    if progress < WARM_UP:
        # From 1/25 of the peak, as torch's OneCycleLR does by default.
        return 0.04 + 0.96 * progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def _optimizer(
    net: nn.Module, settings: TrainingSettings, device: torch.device
) -> torch.optim.Optimizer:
    """Its learning rate is set by each step."""
    # Scales and biases, batch normalisation's among them, have one dimension and are not decayed.
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, nesterov=True, fused=settings.fused)
    # "capturable": its count of steps lies on the device, where a recording can count.
    capturable = settings.fused and device.type == "cuda"
    return torch.optim.AdamW(groups, fused=settings.fused, capturable=capturable)


@contextmanager
def _backends(settings: TrainingSettings) -> Iterator[None]:
    """torch's global switches as the settings say, and afterwards as they were."""
    before = cudnn.benchmark, cudnn.deterministic, torch.are_deterministic_algorithms_enabled()
    if settings.deterministic:
        # Without it cuBLAS may take different workspaces, and torch refuses to promise anything.
        # Read once, at the process's first matrix product on a GPU: whoever starts processes for
        # trainings exports it, and this is for the others.
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
