"""Classification sets that torchvision reads: `data: {name: torchvision:SVHN}`.

MNIST, Fashion-MNIST and CIFAR have readers of our own, which take forms that torchvision refuses
(packed archives, Debian's folder, plain binary files) and need no torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...search_space import InputError
from .examples import Examples, checked
from .known_files import KnownFilesSettings, cache_folder
from .pictures import check_channels, picture_bytes

PREFIX = "torchvision:"

_SPLIT = ({"split": "train"}, {"split": "test"})
_TRAIN_VAL = ({"split": "trainval"}, {"split": "test"})
_FLAG = ({"train": True}, {"train": False})
_ONE: tuple[dict[str, Any], None] = ({}, None)
_BALANCED = {"split": "balanced"}

SETS: dict[str, tuple[Mapping[str, Any], Mapping[str, Any] | None]] = {
    "Caltech256": _ONE,
    "Country211": _SPLIT,
    "DTD": _SPLIT,
    "EMNIST": (_BALANCED | {"train": True}, _BALANCED | {"train": False}),
    "EuroSAT": _ONE,
    "FGVCAircraft": _TRAIN_VAL,
    "Flowers102": _SPLIT,
    "Food101": _SPLIT,
    "GTSRB": _SPLIT,
    "Imagenette": ({"split": "train"}, {"split": "val"}),
    "KMNIST": _FLAG,
    "OxfordIIITPet": _TRAIN_VAL,
    "PCAM": _SPLIT,
    "QMNIST": _FLAG,
    "RenderedSST2": _SPLIT,
    "SEMEION": _ONE,
    "STL10": _SPLIT,
    "SUN397": _ONE,
    "SVHN": _SPLIT,
    "USPS": _FLAG,
}
"""A class of torchvision.datasets -> its arguments for the training set and for the test set; None
where it has no test set: the test split is then cut from the whole."""


def read_torchvision(
    settings: KnownFilesSettings, input: tuple[int, int, int], name: str
) -> Examples:
    """Bytes at the networks' size, each picture cut to its shape around the middle, then scaled."""
    check_channels(input)
    train, test = SETS[name]
    arrays: dict[str, NDArray[Any]] = {}
    arrays["x"], arrays["y"], names = _arrays(settings, input, name, train)
    if test is not None:
        arrays["x_test"], arrays["y_test"], _ = _arrays(settings, input, name, test)
    return checked(arrays, f"data.name {PREFIX}{name}", names=names, cropped=True)


def _arrays(
    settings: KnownFilesSettings,
    input: tuple[int, int, int],
    name: str,
    arguments: Mapping[str, Any],
) -> tuple[NDArray[np.uint8], NDArray[np.int64], list[str] | None]:
    """x, y, and the classes' names where torchvision knows them."""
    try:
        from torchvision import datasets
    except ModuleNotFoundError as e:
        hint = "reading it needs torchvision: pip install 'convnas[vision]'"
        raise InputError("data.name", PREFIX + name, hint) from e
    root = settings.path or str(cache_folder() / "torchvision")
    try:
        found = getattr(datasets, name)(root, download=settings.download, **arguments)
        x = np.empty((len(found), *input), np.uint8)
        y = np.empty(len(found), np.int64)
        for number in range(len(found)):
            picture, y[number] = found[number]
            x[number] = picture_bytes(picture, input)
    except Exception as e:  # whatever a reader falls over in files that are absent or damaged
        reason = " ".join(f"{type(e).__name__}: {e}".split())[:300]
        help_ = "" if settings.download else "; download: true under data fetches it"
        allowed = f"torchvision cannot read {name} in {root} ({reason}){help_}"
        raise InputError("data.path", settings.path, allowed) from e
    return x, y, getattr(found, "classes", None)
