"""Where examples come from, by the name it has in a config's `data:`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ...search_space import InputError
from .arrays import ArrayFileSettings, read_npz, read_tensors
from .cifar import CIFAR10, CIFAR100, read_cifar
from .examples import DivisionSettings, Examples
from .function import HookSettings, read_hook
from .image_cache import Progress
from .image_folder import (
    ImageFolderSettings,
    prepare_image_folder,
    read_image_folder,
    streams_from_disk,
)
from .known_files import KnownFilesSettings
from .mnist import FASHION_MNIST, MNIST, read_mnist
from .torchvision_sets import PREFIX, SETS, read_torchvision

Input = tuple[int, int, int]


@dataclass(frozen=True)
class Source:
    """Its settings, and what reads it: given those and the (C, H, W) that networks will take.

    Most readers give images of their own size, which are fitted later. `streams`: whether they stay
    on disk, decoded at the size that trainings take; `prepare` does that, beforehand.
    """

    settings: type[Any]
    read: Callable[[Any, Input], Examples]
    streams: Callable[[Any, Input], bool] = lambda settings, input: False
    prepare: Callable[[Any, Input, Progress], None] = lambda settings, input, progress: None


def read_digits(settings: DivisionSettings, input: Input) -> Examples:
    """1,797 handwritten digits of 8x8 grey pixels, shipped inside scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        hint = "it comes with scikit-learn: pip install scikit-learn"
        raise InputError("data.name", "digits", hint) from error
    x, y = load_digits(return_X_y=True)
    images, classes = x.reshape(-1, 1, 8, 8).astype(np.float32), y.astype(np.int64)
    # A pixel counts the inked dots of its 4x4 square.
    return Examples(images, classes, names=tuple("0123456789"), values=(0.0, 16.0))


SOURCES: dict[str, Source] = {
    "digits": Source(DivisionSettings, read_digits),
    "npz": Source(ArrayFileSettings, read_npz),
    "tensors": Source(ArrayFileSettings, read_tensors),
    "images": Source(
        ImageFolderSettings, read_image_folder, streams_from_disk, prepare_image_folder
    ),
    "mnist": Source(KnownFilesSettings, lambda settings, _: read_mnist(settings, MNIST)),
    "fashion-mnist": Source(
        KnownFilesSettings, lambda settings, _: read_mnist(settings, FASHION_MNIST)
    ),
    "cifar10": Source(KnownFilesSettings, lambda settings, _: read_cifar(settings, CIFAR10)),
    "cifar100": Source(KnownFilesSettings, lambda settings, _: read_cifar(settings, CIFAR100)),
    **{
        PREFIX + name: Source(KnownFilesSettings, partial(read_torchvision, name=name))
        for name in SETS
    },
}

HOOK_SOURCE = Source(HookSettings, read_hook)
"""A function of the user's own, named `python:MODULE:FUNCTION`."""
