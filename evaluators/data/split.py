"""Examples of one split as tensors, kept as their source gives them, normalised batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

_PIECE = 4096


@dataclass(frozen=True)
class Split:
    """`pixels`: (N, C, H, W), uint8 or float32. `labels`: (N,) int64.

    `mean` and `std`: (1, C, 1, 1), what a network's input is normalised by; None where the pixels
    already are. uint8 takes a quarter of the memory, on a GPU too, and is normalised when cut.
    `rows`, for pixels that are mapped from a file and so stay in main memory as bytes: which of
    them are this split's, (N,) int64, on the CPU. None: all are.
    """

    pixels: Tensor
    labels: Tensor
    mean: Tensor | None = None
    std: Tensor | None = None
    rows: Tensor | None = None

    @property
    def streams(self) -> bool:
        """Whether batches come from a file, so that the whole is nowhere in memory."""
        return self.rows is not None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """One more than the greatest label."""
        return int(self.labels.max()) + 1

    @property
    def images(self) -> Tensor:
        """All of them, normalised: (N, C, H, W) float32."""
        return self.batch(slice(None))

    def batch(self, chosen: Tensor | slice) -> Tensor:
        """The images at these indices, normalised, where the labels are."""
        if self.rows is None:
            return self.normalised(self.pixels[chosen])
        some = chosen if isinstance(chosen, slice) else chosen.cpu()
        return self.normalised(self.pixels[self.rows_of(some)].to(self.labels.device))

    def rows_of(self, chosen: Tensor | slice) -> Tensor:
        """Where in `pixels` these examples of a split that streams are."""
        assert self.rows is not None
        return self.rows[chosen]

    def normalised(self, pixels: Tensor) -> Tensor:
        """(N, C, H, W) of the kind kept here as float32 input; as given where there is no mean."""
        if self.mean is None or self.std is None:
            return pixels
        return (pixels.float() - self.mean) / self.std

    def floating(self) -> Split:
        """The same images, normalised once and kept as float32; those that stream stay bytes."""
        if self.streams:
            return self
        return Split(self.images, self.labels)

    def to(self, device: torch.device) -> Split:
        """Where labels and batches are from now on; pixels that stream stay in their file."""
        if self.streams:
            kept = replace(self, pixels=torch.empty(0), rows=None)
            return replace(kept.to(device), pixels=self.pixels, rows=self.rows)
        return self._each(lambda tensor: tensor.to(device))

    def joined(self, other: Split) -> Split:
        """Both splits' examples; `other` is of the same data set, so normalised alike."""
        labels = torch.cat([self.labels, other.labels])
        if self.rows is not None and other.rows is not None:
            return replace(self, labels=labels, rows=torch.cat([self.rows, other.rows]))
        return replace(self, pixels=torch.cat([self.pixels, other.pixels]), labels=labels)

    def part(self, chosen: Tensor) -> Split:
        """The examples at these indices."""
        if self.rows is not None:
            return replace(self, labels=self.labels[chosen], rows=self.rows_of(chosen.cpu()))
        return replace(self, pixels=self.pixels[chosen], labels=self.labels[chosen])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Split:
        mean = None if self.mean is None else change(self.mean)
        std = None if self.std is None else change(self.std)
        return Split(change(self.pixels), change(self.labels), mean, std)


def fitted(images: Tensor, channels: int, size: tuple[int, int]) -> Tensor:
    """(N, C, H, W) images with these channels and size, of the same type.

    Grey ones are repeated over three channels, others are resized with antialiasing, bytes to the
    nearest byte. ValueError where the channels cannot fit.
    """
    if images.shape[1] == 1 and channels == 3:
        images = images.expand(-1, 3, -1, -1)
    if images.shape[1] != channels:
        raise ValueError(f"{images.shape[1]} channels are there, {channels} are wanted")
    if tuple(images.shape[2:]) == size:
        return images
    # In pieces: as float32 the whole would take four times the memory of its bytes.
    return torch.cat([_resized(piece, size) for piece in torch.split(images, _PIECE)])


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    resized = F.interpolate(images.float(), size=size, mode="bilinear", antialias=True)
    return resized if images.is_floating_point() else resized.round().clamp(0, 255).byte()


def mean_and_std(images: Tensor) -> tuple[Tensor, Tensor]:
    """Of every channel, (C,) each; the std of a channel that never changes is given as 1.

    Bytes are counted, which is exact and needs no copy as floating point.
    """
    if images.is_floating_point():
        std, mean = torch.std_mean(images, dim=(0, 2, 3), correction=0)
    else:
        values = torch.arange(256, dtype=torch.float64)
        counts = torch.stack(
            [
                torch.bincount(images[:, channel].flatten(), minlength=256)
                for channel in range(images.shape[1])
            ]
        ).double()
        shares = counts / counts.sum(1, keepdim=True)
        mean = shares @ values
        std = (shares @ values**2 - mean**2).clamp(min=0).sqrt()
    std = torch.where(std > 0, std, 1.0)
    return mean.float(), std.float()
