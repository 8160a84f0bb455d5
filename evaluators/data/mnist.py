"""MNIST and Fashion-MNIST in the IDX format that they are published in.

LeCun et al. (1998); Xiao et al. (arXiv 1708.07747). IDX: two zero bytes, a byte for the type (8:
unsigned bytes), the number of dimensions, each dimension as four bytes, most significant first,
then the values. Files may be gzipped, as published, or unpacked, as torchvision leaves them.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...search_space import InputError
from .examples import Examples, checked
from .known_files import Download, KnownFiles, KnownFilesSettings

_FILES = {
    "x": "train-images-idx3-ubyte",
    "y": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def _downloads(base: str, digests: tuple[str, ...]) -> tuple[Download, ...]:
    return tuple(
        Download(f"{base}{name}.gz", digest)
        for name, digest in zip(_FILES.values(), digests, strict=True)
    )


MNIST = KnownFiles(
    "mnist",
    ("MNIST/raw",),
    _downloads(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        (
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    ),
)
FASHION_MNIST = KnownFiles(
    "fashion-mnist",
    ("FashionMNIST/raw",),
    _downloads(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        (
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
    places=("/usr/share/datasets/fashion-mnist",),
    hint="on Debian, apt install dataset-fashion-mnist",
    classes=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
)


def read_mnist(settings: KnownFilesSettings, files: KnownFiles) -> Examples:
    """28x28 grey bytes, with the set's own test set."""
    paths = files.find(settings, [(f"{name}.gz", name) for name in _FILES.values()])
    arrays = {name: read_idx(path) for name, path in zip(_FILES, paths, strict=True)}
    return checked(arrays, f"data.path {paths[0].parent}", names=files.classes or None)


def read_idx(path: Path) -> NDArray[Any]:
    """The array of unsigned bytes in an IDX file. InputError where it is not a whole one."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as e:
        raise InputError("data.path", str(path), f"the file cannot be read ({e})") from e
    if len(content) < 4 or content[:3] != b"\0\0\x08" or len(content) < 4 + 4 * content[3]:
        raise InputError("data.path", str(path), "an IDX file of unsigned bytes is needed")
    start = 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content, ">u4", content[3], 4).tolist())
    # Python's integers: the product of a damaged head could overflow any other.
    wanted = int(np.prod(shape, dtype=object))
    if len(content) - start != wanted:
        allowed = f"{wanted} values of {shape} should follow its head, {len(content) - start} do"
        raise InputError("data.path", str(path), allowed)
    # A copy, because what frombuffer gives cannot be written to.
    return np.frombuffer(content, np.uint8, wanted, start).reshape(shape).copy()
