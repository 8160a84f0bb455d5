"""A few images as a network sees them, from whatever holds some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ...search_space import InputError

_ALLOWED = "a tensor of images (N, C, H, W), or a data set or loader that gives images or pairs"


def take_images(data: Any, like: Tensor, count: int) -> Tensor:
    """The first `count` images of `data`, (n, C, H, W) on the device of `like`, of its type.

    data: a tensor (N, C, H, W), a DataLoader or other iterable of batches, or a data set of single
    images; pairs (images, labels) too. InputError where images are not of the shape of `like`.
    """
    found: list[Tensor] = []
    if isinstance(data, Tensor):
        found.append(data[:count])
    elif isinstance(data, Iterable) or hasattr(data, "__getitem__"):
        # A data set with a length alone is read by number, as torch's loaders do.
        items = data if hasattr(data, "__iter__") else (data[i] for i in range(len(data)))
        taken = 0
        for item in items:
            images = item[0] if isinstance(item, tuple | list) else item
            if not isinstance(images, Tensor):
                raise InputError("data", type(images).__name__, _ALLOWED)
            found.append(images if images.ndim == like.ndim else images[None])
            taken += len(found[-1])
            if taken >= count:
                break
    else:
        raise InputError("data", type(data).__name__, _ALLOWED)
    for images in found:
        if images.shape[1:] != like.shape[1:]:
            allowed = f"images of shape {list(like.shape[1:])}, as the example has"
            raise InputError("data", list(images.shape[1:]), allowed)
    if not found or not sum(map(len, found)):
        raise InputError("data", "no images", "at least one")
    return torch.cat(found)[:count].to(like)
