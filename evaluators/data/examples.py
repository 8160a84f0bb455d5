"""What a source of data gives: plain arrays, checked, whatever file they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...search_space import InputError
from ..settings import Settings, integer, real


@dataclass(frozen=True)
class DivisionSettings(Settings):
    """How examples are divided; every source has these settings.

    `split_seed` null: the seed of the experiment divides them. Set it to keep one division over
    experiments with several seeds. `test` says nothing where the source has a test set of its own.
    """

    validation: float = real(0.2, above=0, below=1)
    test: float = real(0.2, above=0, below=1)
    split_seed: int | None = integer(None, at_least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation + self.test >= 1:
            raise InputError("validation", self.validation, "validation + test must be below 1")


@dataclass(frozen=True)
class Examples:
    """`x`: (N, C, H, W), uint8 or float32. `y`: (N,) int64, every class from 0 on at least 3 times.

    `test`: x and y of the source's own test set, of the same channels, size, type and classes.
    `names` of the classes, by number. `values`: the pixels that mean black and white, None where
    the source does not say. `cropped`: images were cut to the networks' shape around their middle
    before they were scaled, see `image_folder`; else they are scaled whole.
    `moments`: where x is mapped from a file and not to be read whole, each image's sum and sum of
    squares by channel, (N, C, 2).
    """

    x: NDArray[Any]
    y: NDArray[np.int64]
    test: tuple[NDArray[Any], NDArray[np.int64]] | None = None
    names: tuple[str, ...] = ()
    values: tuple[float, float] | None = None
    cropped: bool = False
    moments: NDArray[np.int64] | None = None

    @property
    def classes(self) -> int:
        """One more than the greatest label of `y`."""
        return int(self.y.max()) + 1


def checked(
    arrays: Mapping[str, NDArray[Any]],
    place: str,
    *,
    names: Sequence[str] | None = None,
    cropped: bool = False,
) -> Examples:
    """Examples from arrays x and y and, where given, x_test and y_test.

    x: (N, C, H, W) or (N, H, W), uint8 or floating point; y: (N,), whole numbers. `names` of the
    classes; without them, their numbers. InputError, its key `place` and the array's name, for
    anything else.
    """
    try:
        x, y = _pair(arrays, "x", "y")
        counts = np.bincount(y)
        # A label that no example has counts 0: labels are 0, 1, 2, ... without a gap.
        if counts.min() < 3:
            short = int(counts.argmin())
            allowed = "every class needs 3 examples or more: train, validation and test hold each"
            raise InputError("y", f"{counts[short]} of class {short}", allowed)
        test = None
        if "x_test" in arrays or "y_test" in arrays:
            test = _pair(arrays, "x_test", "y_test")
            _check_alike(x, y, *test)
        named = _names(names, len(counts))
        return Examples(x, y, test, named, value_range(x), cropped)
    except InputError as error:
        raise InputError(f"{place}: {error.key}", error.value, error.allowed) from None


def _pair(
    arrays: Mapping[str, NDArray[Any]], x_name: str, y_name: str
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    for name in (x_name, y_name):
        if name not in arrays:
            raise InputError(name, None, f"{x_name} and {y_name} belong together")
    x, y = arrays[x_name], arrays[y_name]
    if x.dtype != np.uint8 and not np.issubdtype(x.dtype, np.floating):
        raise InputError(x_name, str(x.dtype), "uint8 or floating point pixels")
    if x.ndim not in (3, 4) or 0 in x.shape:
        raise InputError(x_name, x.shape, "a shape (N, C, H, W) or (N, H, W)")
    if not np.issubdtype(y.dtype, np.integer):
        raise InputError(y_name, str(y.dtype), "whole numbers")
    if y.shape != x.shape[:1]:
        raise InputError(y_name, y.shape, f"the shape ({len(x)},), one label for every {x_name}")
    if x.dtype != np.uint8:
        x = x.astype(np.float32)
        if not np.isfinite(x).all():
            raise InputError(x_name, "NaN or infinity", "finite pixels")
    if y.min() < 0:
        raise InputError(y_name, int(y.min()), "labels from 0 on")
    # Labels far from 0 on (years, say) must not become a count of that length.
    if y.max() >= len(y) and y_name == "y":
        raise InputError(y_name, int(y.max()), f"labels below the number of examples, {len(y)}")
    return (x[:, None] if x.ndim == 3 else x), y.astype(np.int64)


def _names(names: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    named = tuple(map(str, range(classes) if names is None else names))
    if len(named) < classes or len(set(named)) != len(named):
        raise InputError("names", list(named), f"a name for each of the {classes} classes of y")
    return named[:classes]


def value_range(x: NDArray[Any]) -> tuple[float, float] | None:
    """Black and white as the pixels tell them: bytes are 0 to 255, fractions 0 to 1, greater
    floats 0 to 255; None where negative or greater ones say that they have been prepared."""
    if x.dtype == np.uint8:
        return 0.0, 255.0
    least, greatest = float(x.min()), float(x.max())
    if least < 0 or greatest > 255:
        return None
    return 0.0, 1.0 if greatest <= 1 else 255.0


def _check_alike(
    x: NDArray[Any], y: NDArray[np.int64], x_test: NDArray[Any], y_test: NDArray[np.int64]
) -> None:
    if x_test.dtype != x.dtype:
        raise InputError("x_test", str(x_test.dtype), f"{x.dtype}, as x has")
    if x_test.shape[1:] != x.shape[1:]:
        raise InputError("x_test", x_test.shape, f"images of {x.shape[1:]}, as x has")
    if y_test.max() > y.max():
        raise InputError("y_test", int(y_test.max()), f"labels up to {y.max()}, as y has")
