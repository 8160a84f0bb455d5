"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), as published for Python or as plain binary files.

The Python files are pickles. A pickle can run code, so only what an array of bytes needs is let
through; anything else in the file is refused. The published archive need not be unpacked.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...search_space import InputError
from .examples import Examples, checked
from .known_files import Download, KnownFiles, KnownFilesSettings

_BASE = "https://www.cs.toronto.edu/~kriz"
_PIXELS = 3 * 32 * 32

_FINE = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain
plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""


@dataclass(frozen=True)
class Cifar:
    """`train` and `test`: the names of the pickles; `labels`: their key in them."""

    files: KnownFiles
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: str
    binary_labels: int
    """Bytes of labels before each image of a binary file; the last one is the class."""


CIFAR10 = Cifar(
    KnownFiles(
        "cifar10",
        ("cifar-10-batches-py", "cifar-10-batches-bin"),
        (Download(f"{_BASE}/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
        classes=(
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        ),
    ),
    tuple(f"data_batch_{i}" for i in range(1, 6)),
    ("test_batch",),
    "labels",
    1,
)
CIFAR100 = Cifar(
    KnownFiles(
        "cifar100",
        ("cifar-100-python", "cifar-100-binary"),
        (Download(f"{_BASE}/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),),
        classes=tuple(_FINE.split()),
    ),
    ("train",),
    ("test",),
    "fine_labels",
    2,
)


def read_cifar(settings: KnownFilesSettings, which: Cifar) -> Examples:
    """32x32 bytes of three colours, with the set's own test set."""
    archive = which.files.downloads[0].name
    wanted = [(archive, name, f"{name}.bin") for name in (*which.train, *which.test)]
    paths = which.files.find(settings, wanted)
    if paths[0].name == archive:
        contents = _unpacked(paths[0], (*which.train, *which.test))
    else:
        contents = [(path, _bytes(path)) for path in paths]
    parts = [_read(path, content, which) for path, content in contents]
    train, test = parts[: len(which.train)], parts[len(which.train) :]
    arrays = {
        "x": np.concatenate([x for x, _ in train]),
        "y": np.concatenate([y for _, y in train]),
        "x_test": np.concatenate([x for x, _ in test]),
        "y_test": np.concatenate([y for _, y in test]),
    }
    names = which.files.classes or None
    return checked(arrays, f"data.path {paths[0].parent}", names=names)


def _unpacked(archive: Path, names: tuple[str, ...]) -> list[tuple[Path, bytes]]:
    found: dict[str, bytes] = {}
    try:
        # Nothing is unpacked to the disk, so paths in a foreign archive can do no harm.
        with tarfile.open(archive) as tar:
            for member in tar:
                name = member.name.rpartition("/")[2]
                stream = tar.extractfile(member) if name in names else None
                if stream is not None:
                    found[name] = stream.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as e:
        raise InputError("data.path", str(archive), f"the archive cannot be read ({e})") from e
    missing = [name for name in names if name not in found]
    if missing:
        raise InputError("data.path", str(archive), f"it should hold {', '.join(missing)} too")
    return [(archive / name, found[name]) for name in names]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as e:
        raise InputError("data.path", str(path), f"the file cannot be read ({e})") from e


def _read(path: Path, content: bytes, which: Cifar) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images (N, 3, 32, 32) and classes (N,) of one file."""
    if path.suffix == ".bin":
        row = which.binary_labels + _PIXELS
        if not content or len(content) % row:
            allowed = f"rows of {row} bytes are needed, {len(content)} bytes are there"
            raise InputError("data.path", str(path), allowed)
        rows = np.frombuffer(content, np.uint8).reshape(-1, row)
        x, y = rows[:, which.binary_labels :], rows[:, which.binary_labels - 1].astype(np.int64)
        return x.reshape(-1, 3, 32, 32).copy(), y
    try:
        # The published pickles are of Python 2: latin1 makes text of keys and keeps bytes.
        batch = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        x, y = np.asarray(batch["data"]), np.asarray(batch[which.labels])
        return x.reshape(-1, 3, 32, 32), y
    except Exception as e:  # whatever a damaged pickle makes of itself
        reason = " ".join(f"{type(e).__name__}: {e}".split())
        allowed = f"a file of {which.files.name} as published is needed ({reason})"
        raise InputError("data.path", str(path), allowed) from e


class _ArraysOnly(pickle.Unpickler):
    """Loads containers, numbers, text and numpy arrays, and refuses every other name."""

    _ALLOWED = frozenset(
        {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy._core.numeric", "_frombuffer"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        # numpy moved its core, and warns of the old name.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
