"""One picture, of whatever file or data set, as bytes of the shape that networks take."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...search_space import InputError

if TYPE_CHECKING:
    from PIL import Image

_MODES = {1: "L", 3: "RGB"}


def check_channels(input: tuple[int, int, int]) -> None:
    """InputError where pictures cannot have as many."""
    if input[0] not in _MODES:
        raise InputError("input", list(input), "images have 1 (grey) or 3 (red, green, blue)")


def picture_bytes(image: Image.Image, input: tuple[int, int, int]) -> NDArray[Any]:
    """(C, H, W) bytes: cut to the shape around the middle, then scaled."""
    from PIL import ImageOps

    channels, height, width = input
    cut: Image.Image = ImageOps.fit(image.convert(_MODES[channels]), (width, height))
    pixels = np.asarray(cut)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def decoded(path: Path, input: tuple[int, int, int]) -> NDArray[Any]:
    """(C, H, W) bytes of one file. InputError naming it where it cannot be read."""
    try:
        from PIL import Image
    except ModuleNotFoundError as e:
        hint = "reading images needs Pillow: pip install 'convnas[vision]'"
        raise InputError("data.name", "images", hint) from e
    if not path.is_file():  # reading a pipe would wait for ever
        allowed = "only regular files are read, no pipe, socket, device or folder"
        raise InputError("data.path", str(path), allowed)
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # of odd metadata, which changes no pixel
            return picture_bytes(image, input)
    except Exception as e:  # Pillow's decoders raise all kinds on damaged files
        raise InputError("data.path", str(path), f"the image cannot be read ({e})") from e
