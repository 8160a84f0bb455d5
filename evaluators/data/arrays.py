"""The user's own examples in one file of arrays: .npz or torch's .pt."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...search_space import InputError
from ..settings import text
from .examples import DivisionSettings, Examples, checked

_KEY = "data.path"
_NAMES = ("x", "y", "x_test", "y_test")
_CLASSES = "names"
"""Of the array, or list, of the classes' names, which may be there too."""
_DAMAGE = (
    *(OSError, ValueError, TypeError, EOFError, KeyError, AttributeError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, UnpicklingError),
    MemoryError,  # an array that claims to be terabytes
)
"""What comes of a file that is not whole, or not what it should be."""


@dataclass(frozen=True)
class ArrayFileSettings(DivisionSettings):
    path: str = text("", "the path of an .npz or .pt file with arrays x and y")


def read_npz(settings: ArrayFileSettings, input: object) -> Examples:
    """An .npz file with x and y, and x_test and y_test if it has a test set of its own."""
    _check_regular(settings.path)
    try:
        # Opened here: np.load leaves a damaged file open.
        with Path(settings.path).open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise TypeError("it is a single array")
            arrays = {name: file[name] for name in _NAMES if name in file.files}
            classes = file[_CLASSES].tolist() if _CLASSES in file.files else None
            names = ", ".join(file.files)
    except _DAMAGE as error:
        what = "an .npz file with plain arrays x and y"
        raise InputError(_KEY, settings.path, f"{what} is needed ({_line(error)})") from error
    return _examples(arrays, settings.path, names, classes)


def read_tensors(settings: ArrayFileSettings, input: object) -> Examples:
    """What torch.save wrote: a mapping of tensors named as in an .npz file, or a pair (x, y).

    Only tensors and plain containers are read (`weights_only`): a foreign file runs no code.
    """
    _check_regular(settings.path)
    try:
        content = torch.load(settings.path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        what = "a file of plain tensors x and y, as torch.save writes it,"
        raise InputError(_KEY, settings.path, f"{what} is needed ({_line(error)})") from error
    if isinstance(content, tuple | list) and len(content) == 2:
        content = dict(zip(("x", "y"), content, strict=True))
    if not isinstance(content, Mapping):
        allowed = "it must hold a mapping of tensors x and y, or a pair"
        raise InputError(_KEY, settings.path, f"{allowed}, not a {type(content).__name__}")
    # numpy has no bfloat16: such a tensor counts as absent.
    arrays = {
        name: tensor.numpy(force=True)
        for name, tensor in content.items()
        if name in _NAMES and isinstance(tensor, torch.Tensor) and tensor.dtype != torch.bfloat16
    }
    return _examples(arrays, settings.path, ", ".join(map(str, content)), content.get(_CLASSES))


def _check_regular(path: str) -> None:
    if not os.path.exists(path):
        raise InputError(_KEY, path, f"the file does not exist: {Path(path).absolute()}")
    if not os.path.isfile(path):  # reading a pipe would wait for ever
        raise InputError(_KEY, path, "only a regular file is read")


def _examples(arrays: Mapping[str, NDArray[Any]], path: str, names: str, classes: Any) -> Examples:
    if "x" not in arrays or "y" not in arrays:
        raise InputError(_KEY, path, f"arrays x and y are needed; the file holds: {names}")
    if not (classes is None or isinstance(classes, list)):
        raise InputError(_KEY, path, f"{_CLASSES} must be a list of the classes' names")
    return checked(arrays, f"{_KEY} {path}", names=classes)


def _line(error: Exception) -> str:
    """The first sentence of an error, in one line."""
    return " ".join(str(error).split())[:200]
