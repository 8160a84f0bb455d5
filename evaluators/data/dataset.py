"""Examples as tensors, divided into train, validation and test.

A search gets a `SearchData`, which holds no test examples; only the final training gets the
`DataSet`, which does. So no evaluator can score on the test split, by mistake or otherwise.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...search_space import InputError
from ...search_space.errors import unknown_name
from ..hook import is_hook, load_hook
from ..settings import read_settings
from .examples import DivisionSettings, Examples
from .image_cache import Progress
from .sources import HOOK_SOURCE, SOURCES, Source
from .split import Split, fitted, mean_and_std

COLOURS = {1: "grey", 3: "RGB"}
"""By the channels of the source."""

CROPPED = "cut around the middle to the input's shape, then bicubic (Pillow's ImageOps.fit)"
WHOLE = "whole, bilinear with antialiasing (Pillow's Image.resize)"


@dataclass(frozen=True)
class SearchData:
    """What a search may see."""

    train: Split
    validation: Split
    classes: int
    names: tuple[str, ...] = ()
    """Of the classes; empty where the source has none."""

    @property
    def input(self) -> tuple[int, int, int]:
        """(C, H, W) of the images as they were prepared."""
        channels, height, width = self.train.pixels.shape[1:]
        return channels, height, width

    def check_fits(self, input: tuple[int, int, int], classes: int) -> None:
        """InputError where a network for this input and these classes could not be trained."""
        if tuple(input) != self.input:
            raise InputError("input", list(input), f"the data is prepared as {list(self.input)}")
        if classes != self.classes:
            raise InputError("classes", classes, f"the data has {self.classes} classes")

    def to(self, device: torch.device) -> SearchData:
        return replace(self, train=self.train.to(device), validation=self.validation.to(device))

    def floating(self) -> SearchData:
        return replace(self, train=self.train.floating(), validation=self.validation.floating())

    def resized(self, size: int) -> SearchData:
        """Both splits as square images of this size, which those that stream have already."""
        if self.input[1:] == (size, size):
            return self

        def resize(split: Split) -> Split:
            return replace(split, pixels=fitted(split.pixels, self.input[0], (size, size)))

        return replace(self, train=resize(self.train), validation=resize(self.validation))

    def shared(self, share: float) -> SearchData:
        """With this share of every class's training examples, at least one; always the same."""
        labels = self.train.labels.cpu().numpy()
        rng = np.random.default_rng(0)
        kept = [
            rng.permutation(members)[: max(1, round(share * len(members)))]
            for members in (np.flatnonzero(labels == label) for label in range(self.classes))
        ]
        chosen = torch.from_numpy(np.sort(np.concatenate(kept))).to(self.train.labels.device)
        return replace(self, train=self.train.part(chosen))


@dataclass(frozen=True)
class DataSet:
    """Everything, with what is needed to prepare other images the same way.

    `mean` and `std` are the train split's, one a channel, in the units of the source's pixels;
    `channels` those of the source, before grey ones were repeated. `names`, `values` and `cropped`:
    see `Examples`.
    """

    name: str
    search: SearchData
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split_seed: int
    channels: int
    names: tuple[str, ...]
    values: tuple[float, float] | None
    cropped: bool

    def describe(self) -> dict[str, Any]:
        """Plain data to be kept with whatever was learned from this data set: whoever prepares an
        image as it says gets what the network was trained on."""
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
            "class_names": list(self.names),
            "input": list(self.search.input),
            "range": list(self.values) if self.values else None,
            "colour": COLOURS.get(self.channels),
            "resize": CROPPED if self.cropped else WHOLE,
        }


def read_data_settings(data: Mapping[str, Any]) -> tuple[Source, DivisionSettings]:
    """The named source and its settings, checked, without reading any data.

    For a hook, `python:MODULE:FUNCTION`, the module is imported.
    """
    if not isinstance(data, Mapping):
        raise InputError("data", data, "a mapping such as {name: digits}")
    name = data.get("name")
    if isinstance(name, str) and is_hook(name):
        load_hook(name, "data.name")
        return HOOK_SOURCE, HOOK_SOURCE.settings.of(data)
    if not isinstance(name, str) or name not in SOURCES:
        raise unknown_name("data.name", name, SOURCES)
    return SOURCES[name], read_settings(SOURCES[name].settings, data, "data")


def prepare_data(
    data: Mapping[str, Any],
    input: tuple[int, int, int],
    *,
    resolution: int | None = None,
    progress: Progress = lambda done, total: None,
) -> None:
    """Make what loading needs on disk, telling how far it is: folders of images that stream.

    Loading makes it too, in silence. `resolution`: a proxy's. Killed, it goes on where it was.
    """
    source, settings = read_data_settings(data)
    if source.streams(settings, input):
        source.prepare(settings, _at(input, resolution), progress)


def _at(input: tuple[int, int, int], resolution: int | None) -> tuple[int, int, int]:
    return input if resolution is None else (input[0], resolution, resolution)


def load_data(
    data: Mapping[str, Any],
    *,
    seed: int,
    input: tuple[int, int, int],
    classes: int,
    resolution: int | None = None,
) -> DataSet:
    """Read, divide, fit to `input` (C, H, W) and normalise the data set that `data` names.

    The division depends on the seed and the examples only, and is stratified: every class is in
    all splits, in equal shares. A source with a test set of its own keeps it as the test split.
    Images of another size are resized, grey ones are repeated over three channels; InputError
    where channels or the number of classes cannot fit. `resolution`: of squares that images which
    stream are decoded to at once, in place of the input's size; others keep that.
    """
    source, settings = read_data_settings(data)
    name = str(data["name"])
    if source.streams(settings, input):
        input = _at(input, resolution)
    examples = source.read(settings, input)
    if examples.classes != classes:
        raise InputError("classes", classes, f"the data {name!r} has {examples.classes} classes")
    split_seed = seed if settings.split_seed is None else settings.split_seed
    own_test = examples.test is not None
    parts = stratified(
        examples.y, settings.validation, 0.0 if own_test else settings.test, split_seed
    )
    if examples.moments is None:
        splits, mean, std = _in_memory(name, examples, parts, input)
    else:
        splits, mean, std = _on_disk(examples, examples.moments, parts)
    train, validation, test = splits
    return DataSet(
        name=name,
        search=SearchData(train, validation, classes, examples.names),
        test=test,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        split_seed=split_seed,
        channels=examples.x.shape[1],
        names=examples.names,
        values=examples.values,
        cropped=examples.cropped,
    )


Parts = Sequence[NDArray[np.int64]]
"""The numbers of the examples in train, validation and test."""


def _in_memory(
    name: str, examples: Examples, parts: Parts, input: tuple[int, int, int]
) -> tuple[list[Split], Tensor, Tensor]:
    """The three splits, each with pixels of its own, and the train split's mean and std."""
    images, labels = _fitted(examples.x, input, name), torch.from_numpy(examples.y)
    pixels = [(images[part], labels[part]) for part in map(torch.from_numpy, parts)]
    if examples.test is not None:
        x, y = examples.test
        pixels[2] = _fitted(x, input, name), torch.from_numpy(y)
    # The train split's alone: how an input is prepared must tell nothing of the others.
    mean, std = mean_and_std(pixels[0][0])
    shape = (1, -1, 1, 1)
    splits = [Split(x, y, mean.view(shape), std.view(shape)) for x, y in pixels]
    # Normalised, floats take no more memory than before, so it is done once.
    if images.is_floating_point():
        splits = [split.floating() for split in splits]
    return splits, mean, std


def _on_disk(
    examples: Examples, moments: NDArray[np.int64], parts: Parts
) -> tuple[list[Split], Tensor, Tensor]:
    """The same of images that are mapped from a file: the splits are rows of it."""
    train = moments[parts[0]].sum(0).astype(np.float64)  # (C, 2)
    count = len(parts[0]) * int(np.prod(examples.x.shape[2:]))
    average = train[:, 0] / count
    # Rounding may take a variance just below 0; a channel that never changes is divided by 1.
    spread = np.sqrt(np.maximum(train[:, 1] / count - average**2, 0))
    mean, std = torch.from_numpy(average), torch.from_numpy(np.where(spread > 0, spread, 1.0))
    mean, std = mean.float(), std.float()

    def split(x: NDArray[Any], y: NDArray[np.int64], rows: NDArray[np.int64]) -> Split:
        shape = (1, -1, 1, 1)
        return Split(
            _mapped(x),
            torch.from_numpy(y[rows]),
            mean.view(shape),
            std.view(shape),
            torch.from_numpy(rows),
        )

    splits = [split(examples.x, examples.y, part) for part in parts]
    if examples.test is not None:
        x, y = examples.test
        splits[2] = split(x, y, np.arange(len(y)))
    return splits, mean, std


def _mapped(x: NDArray[Any]) -> Tensor:
    with warnings.catch_warnings():
        # That it must not be written to. Nobody does, and the system would refuse.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(x)


def stratified(
    labels: NDArray[np.int64], validation: float, test: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sorted indices of train, validation and test: disjoint, and all examples together.

    Of every class, which has at least 3 examples, each split holds its share, rounded, and at
    least one example. With `test` 0 there is no test split.
    """
    rng = np.random.default_rng(seed)
    parts: tuple[list[NDArray[np.int64]], ...] = ([], [], [])
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        # Test comes first, so that it does not depend on the share of validation. Two members
        # are left for the other splits, one each.
        n_test = min(max(1, round(test * len(members))), len(members) - 2) if test else 0
        n_validation = min(max(1, round(validation * len(members))), len(members) - n_test - 1)
        held, rest = members[:n_test], members[n_test:]
        for part, chosen in zip(
            parts, (rest[n_validation:], rest[:n_validation], held), strict=True
        ):
            part.append(chosen)
    train, validate, tested = (np.sort(np.concatenate(part)) for part in parts)
    return train, validate, tested


def _fitted(x: NDArray[Any], input: tuple[int, int, int], name: str) -> Tensor:
    channels, height, width = input
    images = torch.from_numpy(np.ascontiguousarray(x))
    try:
        return fitted(images, channels, (height, width))
    except ValueError as e:
        found = f"the data {name!r} has {images.shape[1]} channels"
        raise InputError("input", list(input), found) from e
