"""A folder of images, one subfolder a class, as torchvision's ImageFolder reads it.

`path/CLASS/*.png`, or `path/train/CLASS/...` with `path/test/CLASS/...` beside it (a folder `val`
or `validation` is not used: the validation split is cut from the training images, by seed).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...search_space import InputError
from ..settings import flag_or, text
from .examples import DivisionSettings, Examples, checked
from .image_cache import Progress, cached_images
from .pictures import check_channels, decoded

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp", ".gif"}
_KEY = "data.path"


_IN_MEMORY = 2 * 2**30
"""Decoded bytes up to which `stream: auto` reads a folder into memory: a rule and not the machine's
free memory, so that one config is one way of training."""


@dataclass(frozen=True)
class ImageFolderSettings(DivisionSettings):
    """`stream`: decode once into a file of the user's cache that trainings read batch by batch,
    instead of into the memory of each; auto: where the decoded images take more than 2 GiB."""

    path: str = text("", "the path of a folder with one subfolder of images for every class")
    stream: bool | str = flag_or("auto", "auto")


def read_image_folder(settings: ImageFolderSettings, input: tuple[int, int, int]) -> Examples:
    """Bytes at the networks' size: each image is cut to its shape around the middle, then scaled.

    Classes are numbered in the order of their names. InputError naming the image that cannot be
    read, before any trial starts.
    """
    check_channels(input)
    names, train, test = _listed(settings)
    if _streams(settings, train, input):
        made = _streamed(settings, train, test, input)
        return replace(made, names=tuple(names), cropped=True)
    arrays = _arrays("", train, _decoded(train, input))
    if test:
        arrays |= _arrays("_test", test, _decoded(test, input))
    return checked(arrays, f"{_KEY} {settings.path}", names=names, cropped=True)


def streams_from_disk(settings: ImageFolderSettings, input: tuple[int, int, int]) -> bool:
    """Whether `read_image_folder` maps the images from the cache instead of holding them."""
    return _streams(settings, _listed(settings)[1], input)


def prepare_image_folder(
    settings: ImageFolderSettings, input: tuple[int, int, int], progress: Progress
) -> None:
    """Decode what a folder that streams has not in the cache yet; begun and killed, it goes on."""
    check_channels(input)
    _, train, test = _listed(settings)
    if _streams(settings, train, input):
        _streamed(settings, train, test, input, progress)


Listed = list[tuple[Path, int]]
"""Files, and the class of each."""


def _streams(settings: ImageFolderSettings, train: Listed, input: tuple[int, int, int]) -> bool:
    if isinstance(settings.stream, bool):
        return settings.stream
    return len(train) * prod(input) > _IN_MEMORY


def _streamed(
    settings: ImageFolderSettings,
    train: Listed,
    test: Listed,
    input: tuple[int, int, int],
    progress: Progress = lambda done, total: None,
) -> Examples:
    root, total = Path(settings.path), len(train) + len(test)
    made = cached_images(
        root, [path for path, _ in train], input, lambda done, _: progress(done, total)
    )
    arrays = _arrays("", train, made.pixels)
    if test:
        more = cached_images(
            root,
            [path for path, _ in test],
            input,
            lambda done, _: progress(len(train) + done, total),
        )
        arrays |= _arrays("_test", test, more.pixels)
    return replace(checked(arrays, f"{_KEY} {settings.path}"), moments=made.moments)


def _arrays(suffix: str, listed: Listed, pixels: NDArray[Any]) -> dict[str, NDArray[Any]]:
    labels = np.array([label for _, label in listed], np.int64)
    return {f"x{suffix}": pixels, f"y{suffix}": labels}


def _listed(settings: ImageFolderSettings) -> tuple[list[str], Listed, Listed]:
    """The classes, the training images, and those of the folder's own test set, maybe none."""
    root = Path(settings.path)
    train = root / "train" if (root / "train").is_dir() else root
    names = _classes(train)
    if len(names) < 2:
        allowed = "a folder with a subfolder of images for each of two or more classes is needed"
        raise InputError(_KEY, settings.path, allowed)
    test = root / "test"
    if train == root or not test.is_dir():
        return names, _files(train, names), []
    foreign = [name for name in _classes(test) if name not in names]
    if foreign:
        raise InputError(_KEY, str(test), f"its class {foreign[0]!r} is not in {train}")
    return names, _files(train, names), _files(test, names)


def class_files(root: Path) -> dict[str, list[Path]]:
    """The training images of each class, by its name, in order. Raises InputError."""
    folder = root / "train" if (root / "train").is_dir() else root
    return {name: _images(folder / name) for name in _classes(folder)}


def _classes(folder: Path) -> list[str]:
    try:
        return sorted(each.name for each in folder.iterdir() if each.is_dir() and _images(each))
    except OSError as e:
        allowed = f"it cannot be read: {e.strerror} ({folder.absolute()})"
        raise InputError(_KEY, str(folder), allowed) from e


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)


def _files(folder: Path, names: list[str]) -> Listed:
    return [
        (path, label)
        for label, name in enumerate(names)
        # a test set may lack a class
        if (folder / name).is_dir()
        for path in _images(folder / name)
    ]


def _decoded(listed: Listed, input: tuple[int, int, int]) -> NDArray[np.uint8]:
    x = np.empty((len(listed), *input), np.uint8)
    for row, (path, _) in zip(x, listed, strict=True):
        row[...] = decoded(path, input)
    return x
