"""A folder of images, one subfolder a class, as torchvision's ImageFolder reads it.

`path/CLASS/*.png`, or `path/train/CLASS/...` with `path/test/CLASS/...` beside it (a folder `val`
or `validation` is not used: the validation split is cut from the training images, by seed).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...search_space import InputError
from ..settings import text
from .examples import DivisionSettings, Examples, checked
from .pictures import check_channels, decoded

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp", ".gif"}
_KEY = "data.path"


@dataclass(frozen=True)
class ImageFolderSettings(DivisionSettings):
    path: str = text("", "the path of a folder with one subfolder of images for every class")


def read_image_folder(settings: ImageFolderSettings, input: tuple[int, int, int]) -> Examples:
    """Bytes at the networks' size: each image is cut to its shape around the middle, then scaled.

    Classes are numbered in the order of their names. InputError naming the image that cannot be
    read, before any trial starts.
    """
    root = Path(settings.path)
    check_channels(input)
    train = root / "train" if (root / "train").is_dir() else root
    names = _classes(train)
    if len(names) < 2:
        allowed = "a folder with a subfolder of images for each of two or more classes is needed"
        raise InputError(_KEY, settings.path, allowed)
    arrays: dict[str, NDArray[Any]] = {}
    arrays["x"], arrays["y"] = _read(train, names, input)
    test = root / "test"
    if train != root and test.is_dir():
        foreign = [name for name in _classes(test) if name not in names]
        if foreign:
            raise InputError(_KEY, str(test), f"its class {foreign[0]!r} is not in {train}")
        arrays["x_test"], arrays["y_test"] = _read(test, names, input)
    return checked(arrays, f"{_KEY} {settings.path}", names=names, cropped=True)


def _classes(folder: Path) -> list[str]:
    try:
        return sorted(each.name for each in folder.iterdir() if each.is_dir() and _images(each))
    except OSError as e:
        raise InputError(_KEY, str(folder), f"it cannot be read: {e.strerror}") from e


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)


def _read(
    folder: Path, names: list[str], input: tuple[int, int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    listed = [
        (path, label)
        for label, name in enumerate(names)
        if (folder / name).is_dir()
        for path in _images(folder / name)
    ]
    x = np.empty((len(listed), *input), np.uint8)
    for row, (path, _) in zip(x, listed, strict=True):
        row[...] = decoded(path, input)
    return x, np.array([label for _, label in listed], np.int64)
