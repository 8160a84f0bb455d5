"""One training step, from the numbers of its examples to the changed weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.feed import Feed
from ..data.split import Split
from .augment import Augment
from .average import MovingAverage
from .capture import Recorder, Rewind, Run, recorded
from .mixup import Mixup
from .recipe import TrainingSettings


class TrainingStep:
    """Called, it trains on the epoch's next batch: cut, augment, mix, forward, backward, optimizer,
    average. Its mean loss is added to `loss_sum`.

    Which batch is next, its learning rate and its mixture are read from tensors on the device by a
    counter there, so that a call is the same launches every time and can be recorded.

    With `micro_batch` the batch goes through in pieces of at most that size and the gradients are
    added up: the same batch in less memory. Batch normalisation then sees each piece on its own, so
    the result is close to that of the whole batch, not equal.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        data: Split,
        settings: TrainingSettings,
        *,
        size: int,
        augment: Augment,
        mix: Mixup | None = None,
        average: MovingAverage | None = None,
        micro_batch: int | None = None,
        class_weights: Tensor | None = None,
    ) -> None:
        self._class_weights = class_weights
        self._net, self._optimizer, self._data = net, optimizer, data
        self._settings, self._size = settings, size
        self._augment, self._mix, self._average = augment, mix, average
        self._micro_batch = micro_batch
        device = self._device = data.labels.device
        self._layout = settings.layout
        steps = self.steps = len(data) // size
        self.loss_sum = torch.zeros((), device=device)
        self._next = torch.zeros(1, dtype=torch.int64, device=device)
        self._order = torch.zeros(steps, size, dtype=torch.int64, device=device)
        self._feed = Feed(data, size, device) if data.streams else None
        self._shares = torch.ones(steps, dtype=torch.float64, device=device)
        # Fused optimizers read their rate on the device (CUDA's as float32); others ask for its
        # value, which on a GPU would wait unless it lies in main memory.
        reads = device if settings.fused else torch.device("cpu")
        dtype = torch.float32 if reads.type == "cuda" else torch.float64
        self._rates = torch.zeros(steps, dtype=dtype, device=reads)
        self._next_rate = self._next if settings.fused else torch.zeros(1, dtype=torch.int64)
        self._rate = torch.zeros((), dtype=dtype, device=reads)

    def begin(self, order: Tensor, rates: Sequence[float], first: int) -> None:
        """An epoch: the examples' order (at least steps x size numbers), each step's rate, and how
        many steps there were before."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate  # restoring a checkpoint puts another tensor there
        # What fills no batch is left out: other examples in every epoch, the order being random.
        self._order.copy_(order[: self._order.numel()].view_as(self._order))
        self._rates.copy_(torch.tensor(rates, dtype=self._rates.dtype))
        if self._mix is not None:
            self._shares.copy_(self._mix.shares(first, len(rates)))
        self._restart()

    def __call__(self) -> None:
        """`fetch` comes before each call."""
        # By a tensor: the counter's value would have to be waited for, and a recording would repeat
        # that one value for ever.
        batch = self._order.index_select(0, self._next)[0]
        self._rate.copy_(self._rates.index_select(0, self._next_rate)[0])
        if self._feed is None:
            images = self._data.batch(batch)
        else:
            images = self._data.normalised(self._feed.place)
        images, labels = self._augment(images), self._data.labels[batch]
        if self._mix is not None:
            images, labels = self._mix(images, labels, self._shares.index_select(0, self._next)[0])
        self._optimizer.zero_grad()
        self.loss_sum += self._gradients(images.contiguous(memory_format=self._layout), labels)
        self._optimizer.step()
        if self._average is not None:
            self._average.update()
        self._next += 1
        if self._next_rate is not self._next:
            self._next_rate += 1

    def fetch(self) -> None:
        """Have the next batch on the device: one that streams, since the others are there."""
        if self._feed is not None:
            self._feed.fetch()

    def captured(self, recorder: Recorder) -> Run | None:
        """The whole step as one recording, the training being where it was; see `recorded`."""
        # The device's own generator belongs to every recording already, but it has to be rewound.
        generators = [self._augment.generator]
        more = self._average.changing() if self._average is not None else []
        rewind = Rewind(
            self._net, self._optimizer, more, [*generators, _own_generator(self._device)]
        )
        replay = recorded(
            self,
            recorder,
            begin=self._restart,
            fetch=self.fetch,
            rewind=rewind,
            loss=self.loss_sum,
            generators=generators,
            differs=len(self._order) > 1,
        )
        self._restart()
        return replay

    def _restart(self) -> None:
        self._next.zero_()
        self._next_rate.zero_()
        self.loss_sum.zero_()
        if self._feed is not None:
            self._feed.begin(self._order)

    def _gradients(self, images: Tensor, labels: Tensor) -> Tensor:
        """Give the weights the batch's gradients, and return its loss.

        images: (N, C, H, W). labels: (N,) classes or (N, classes) probabilities.
        """
        size = self._micro_batch or len(labels)
        half = self._settings.autocasts(self._device)
        total = torch.zeros((), device=self._device)
        for some, theirs in zip(torch.split(images, size), torch.split(labels, size), strict=True):
            # The forward pass only: the backward pass takes the types that this one chose.
            with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
                logits = self._net(some)
            smoothing = self._settings.label_smoothing
            if self._class_weights is not None:
                # The mean by weight over the whole batch, of which this may be a piece.
                loss = F.cross_entropy(
                    logits.float(),
                    theirs,
                    self._class_weights,
                    reduction="sum",
                    label_smoothing=smoothing,
                )
                loss = loss / _weight_of(labels, self._class_weights)
            else:
                loss = F.cross_entropy(logits.float(), theirs, label_smoothing=smoothing)
                # Pieces count by their size: their gradients add up to those of the batch's mean.
                loss = loss * (len(theirs) / len(labels)) if len(theirs) < len(labels) else loss
            loss.backward()  # type: ignore[no-untyped-call]
            total = total + loss.detach()
        return total


def _weight_of(labels: Tensor, class_weights: Tensor) -> Tensor:
    """The summed weight of (N,) classes or (N, classes) probabilities."""
    if labels.ndim == 1:
        return class_weights[labels].sum()
    return (labels @ class_weights).sum()


def _own_generator(device: torch.device) -> torch.Generator:
    """torch's own one of a device, which layers such as dropout draw from."""
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    return torch.default_generator
