"""Augmentation of whole batches on the device they are on: shift, mirror, blank a square."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


class Augment:
    """Of each image on its own: `crop`, a shift of up to that many pixels each way, the edge filled
    with 0, which is the mean of normalised pixels (He et al., 2016); `flip`, mirrored left to right
    with probability 1/2; `cutout`, a square of that side set to 0 around a random pixel, cut off at
    the edges (DeVries and Taylor, arXiv 1708.04552).

    The numbers are drawn on the device, from a generator of its own, and nothing is waited for.
    """

    def __init__(
        self, device: torch.device, *, flip: bool, crop: int, cutout: int, seed: int
    ) -> None:
        self.flip, self.crop, self.cutout = flip, crop, cutout
        self.generator = torch.Generator(device).manual_seed(seed)

    def __call__(self, images: Tensor) -> Tensor:
        """(N, C, H, W), normalised; `images` itself where nothing is asked for."""
        # The order of the draws is part of what a seed stands for.
        if self.crop:
            images = self._shifted(images)
        if self.flip:
            mirrored = self._draw(2, len(images)).bool()
            # Both in full: picking out the images to mirror would have to wait for their count.
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
        if self.cutout:
            images = images.masked_fill(self._squares(images), 0.0)
        return images

    def _draw(self, below: int, count: int) -> Tensor:
        device = self.generator.device
        return torch.randint(below, (count,), generator=self.generator, device=device)

    def _shifted(self, images: Tensor) -> Tensor:
        count, _, height, width = images.shape
        padded = F.pad(images, (self.crop,) * 4)
        # Where in the padded image each one begins; `crop` itself is no shift.
        top, left = (self._draw(2 * self.crop + 1, count) for _ in range(2))
        # (N, H) and (N, W): the padded row and column that each pixel comes from.
        rows = top[:, None] + torch.arange(height, device=images.device)
        columns = left[:, None] + torch.arange(width, device=images.device)
        each = torch.arange(count, device=images.device)
        # Indices on both sides of a slice put their own dimensions first:
        # (N, H, W, C) in memory: the layout that channels_last wants.
        cut = padded[each[:, None, None], :, rows[:, :, None], columns[:, None, :]]
        return cut.permute(0, 3, 1, 2)

    def _squares(self, images: Tensor) -> Tensor:
        """(N, 1, H, W), True inside each image's square."""
        count, _, height, width = images.shape
        inside = []
        for size in (height, width):
            first = self._draw(size, count)[:, None] - self.cutout // 2
            places = torch.arange(size, device=images.device)
            inside.append((places >= first) & (places < first + self.cutout))
        return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
