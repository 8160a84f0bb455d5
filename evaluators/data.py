"""Examples as tensors, divided into train, validation and test.

A search gets a `SearchData`, which holds no test examples; only the final training gets the
`DataSet`, which does. So no evaluator can score on the test split, by mistake or otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..search_space import InputError
from ..search_space.errors import unknown_name
from .settings import read_settings
from .sources import SOURCES, SplitSettings


@dataclass(frozen=True)
class Split:
    """`images`: (N, C, H, W) float32, normalised. `labels`: (N,) int64."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Split:
        return Split(self.images.to(device), self.labels.to(device))

    def joined(self, other: Split) -> Split:
        return Split(torch.cat([self.images, other.images]), torch.cat([self.labels, other.labels]))


@dataclass(frozen=True)
class SearchData:
    """What a search may see."""

    train: Split
    validation: Split
    classes: int

    @property
    def input(self) -> tuple[int, int, int]:
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def check_fits(self, input: tuple[int, int, int], classes: int) -> None:
        """InputError where a network for this input and these classes could not be trained."""
        if tuple(input) != self.input:
            raise InputError("input", list(input), f"the data is prepared as {list(self.input)}")
        if classes != self.classes:
            raise InputError("classes", classes, f"the data has {self.classes} classes")

    def to(self, device: torch.device) -> SearchData:
        return SearchData(self.train.to(device), self.validation.to(device), self.classes)


@dataclass(frozen=True)
class DataSet:
    """Everything, with what is needed to prepare other images the same way.

    `mean` and `std` are the train split's, one a channel, in the units of the source's pixels.
    """

    name: str
    search: SearchData
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split_seed: int

    def describe(self) -> dict[str, Any]:
        """Plain data to be kept with whatever was learned from this data set."""
        sizes = {
            "train": len(self.search.train),
            "validation": len(self.search.validation),
            "test": len(self.test),
        }
        return {
            "name": self.name,
            "split_seed": self.split_seed,
            "sizes": sizes,
            "mean": list(self.mean),
            "std": list(self.std),
        }


def read_data_settings(data: Mapping[str, Any]) -> SplitSettings:
    """The settings of the named source, checked, without reading a file."""
    if not isinstance(data, Mapping):
        raise InputError("data", data, "a mapping such as {name: digits}")
    name = data.get("name")
    if not isinstance(name, str) or name not in SOURCES:
        raise unknown_name("data.name", name, SOURCES)
    return read_settings(SOURCES[name][0], data, "data")


def load_data(
    data: Mapping[str, Any], *, seed: int, input: tuple[int, int, int], classes: int
) -> DataSet:
    """Read, divide, fit to `input` (C, H, W) and normalise the data set that `data` names.

    The division depends on the seed and the examples only, and is stratified: every class is in
    all three splits, in equal shares. Images of another size are resized, grey ones are repeated
    over three channels; InputError where channels or the number of classes cannot fit.
    """
    settings = read_data_settings(data)
    name = str(data["name"])
    examples = SOURCES[name][1](settings)
    if examples.classes != classes:
        raise InputError("classes", classes, f"the data {name!r} has {examples.classes} classes")
    split_seed = seed if settings.split_seed is None else settings.split_seed
    images, labels = _fitted(examples.x, input, name), torch.from_numpy(examples.y)
    parts = stratified(examples.y, settings.validation, settings.test, split_seed)
    train, validation, test = (Split(images[part], labels[part]) for part in parts)
    std, mean = torch.std_mean(train.images, dim=(0, 2, 3), correction=0)
    std = torch.where(std > 0, std, 1.0)  # a channel that never changes
    shape = (1, -1, 1, 1)
    train, validation, test = (
        Split((part.images - mean.view(shape)) / std.view(shape), part.labels)
        for part in (train, validation, test)
    )
    return DataSet(
        name=name,
        search=SearchData(train, validation, classes),
        test=test,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        split_seed=split_seed,
    )


def stratified(
    labels: NDArray[np.int64], validation: float, test: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sorted indices of train, validation and test: disjoint, and all examples together.

    Of every class, which has at least 3 examples, each split holds its share, rounded, and at
    least one example.
    """
    rng = np.random.default_rng(seed)
    parts: tuple[list[NDArray[np.int64]], ...] = ([], [], [])
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        n_test = min(max(1, round(test * len(members))), len(members) - 2)
        n_validation = min(max(1, round(validation * len(members))), len(members) - n_test - 1)
        held, rest = members[:n_test], members[n_test:]
        for part, chosen in zip(
            parts, (rest[n_validation:], rest[:n_validation], held), strict=True
        ):
            part.append(chosen)
    train, validate, tested = (np.sort(np.concatenate(part)) for part in parts)
    return train, validate, tested


def _fitted(x: NDArray[Any], input: tuple[int, int, int], name: str) -> Tensor:
    images = torch.from_numpy(np.ascontiguousarray(x)).float()
    channels, *size = input
    if images.shape[1] == 1 and channels == 3:
        images = images.expand(-1, 3, -1, -1)
    if images.shape[1] != channels:
        found = f"the data {name!r} has {images.shape[1]}"
        raise InputError("input", list(input), f"{found} channels")
    if list(images.shape[2:]) != size:
        images = F.interpolate(images, size=size, mode="bilinear", antialias=True)
    return images
