"""Where examples come from: one reader a source, each giving plain checked arrays."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..search_space import InputError
from .settings import Settings, integer, real, text


@dataclass(frozen=True)
class SplitSettings(Settings):
    """How examples are divided; every source has these settings.

    `split_seed` null: the seed of the experiment divides them. Set it to keep one division over
    experiments with several seeds.
    """

    validation: float = real(0.2, above=0, below=1)
    test: float = real(0.2, above=0, below=1)
    split_seed: int | None = integer(None, at_least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation + self.test >= 1:
            raise InputError("validation", self.validation, "validation + test must be below 1")


@dataclass(frozen=True)
class NpzSettings(SplitSettings):
    path: str = text("", "the path of an .npz file with arrays x and y")


@dataclass(frozen=True)
class Examples:
    """`x`: (N, C, H, W), uint8 or float32. `y`: (N,) int64, every class from 0 on at least 3 times."""

    x: NDArray[Any]
    y: NDArray[np.int64]

    @property
    def classes(self) -> int:
        return int(self.y.max()) + 1


def read_digits(settings: SplitSettings) -> Examples:
    """1,797 handwritten digits of 8x8 grey pixels, shipped inside scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        hint = "it comes with scikit-learn: pip install scikit-learn"
        raise InputError("data.name", "digits", hint) from error
    x, y = load_digits(return_X_y=True)
    return Examples(x.reshape(-1, 1, 8, 8).astype(np.float32), y.astype(np.int64))


def read_npz(settings: NpzSettings) -> Examples:
    """An .npz file with x (N, C, H, W) or (N, H, W), uint8 or float, and y (N,), whole numbers."""
    key = "data.path"
    try:
        # Opened here: np.load leaves a damaged file open.
        with Path(settings.path).open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise TypeError("it is a single array")
            arrays = {name: file[name] for name in ("x", "y") if name in file.files}
            names = ", ".join(file.files)
    except FileNotFoundError:
        raise InputError(key, settings.path, "the file does not exist") from None
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        what = "an .npz file with plain arrays x and y"
        raise InputError(key, settings.path, f"{what} is needed ({error})") from error
    if len(arrays) < 2:
        raise InputError(key, settings.path, f"arrays x and y are needed; the file holds: {names}")
    try:
        return _checked(arrays["x"], arrays["y"])
    except InputError as error:
        raise InputError(
            f"{key} {settings.path}: {error.key}", error.value, error.allowed
        ) from None


SOURCES: dict[str, tuple[type[SplitSettings], Callable[[Any], Examples]]] = {
    "digits": (SplitSettings, read_digits),
    "npz": (NpzSettings, read_npz),
}


def _checked(x: NDArray[Any], y: NDArray[Any]) -> Examples:
    if x.dtype != np.uint8 and not np.issubdtype(x.dtype, np.floating):
        raise InputError("x", str(x.dtype), "uint8 or floating point pixels")
    if x.ndim not in (3, 4) or 0 in x.shape:
        raise InputError("x", x.shape, "a shape (N, C, H, W) or (N, H, W)")
    if not np.issubdtype(y.dtype, np.integer):
        raise InputError("y", str(y.dtype), "whole numbers")
    if y.shape != x.shape[:1]:
        raise InputError("y", y.shape, f"the shape ({len(x)},), one label for every x")
    if x.dtype != np.uint8:
        x = x.astype(np.float32)
        if not np.isfinite(x).all():
            raise InputError("x", "NaN or infinity", "finite pixels")
    if y.min() < 0:
        raise InputError("y", int(y.min()), "labels from 0 on")
    # Labels far from 0 on (years, say) must not become a count of that length.
    if y.max() >= len(y):
        raise InputError("y", int(y.max()), f"labels below the number of examples, {len(y)}")
    counts = np.bincount(y)
    if counts.min() < 3:
        short = int(counts.argmin())
        allowed = "every class needs 3 examples or more: train, validation and test hold each"
        raise InputError("y", f"{counts[short]} of class {short}", allowed)
    return Examples(x[:, None] if x.ndim == 3 else x, y.astype(np.int64))
