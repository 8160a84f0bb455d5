"""Folders of images larger than memory: decoded once into a file that every training maps.

The file holds bytes of one shape, so a batch is a gather of rows; what is read often stays in the
system's page cache, once for all processes of the machine. Making it is shared by threads (decoders
let others run), can be killed at any time, and goes on where it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...search_space import InputError
from ...search_space.files import atomic_write
from .known_files import cache_folder
from .pictures import decoded

Progress = Callable[[int, int], None]
"""(images done, images in all)"""

_PIECE = 256
"""Images that are decoded, written and marked as done together: what a killed making loses."""

_FORMAT = 1


@dataclass(frozen=True)
class CachedImages:
    """`pixels`: (N, C, H, W) bytes, mapped from the file, read-only. `moments`: (N, C, 2), of each
    image's channels the sum and the sum of squares."""

    pixels: NDArray[np.uint8]
    moments: NDArray[np.int64]


def cached_images(
    root: Path,
    files: Sequence[Path],
    shape: tuple[int, int, int],
    progress: Progress = lambda done, total: None,
) -> CachedImages:
    """The files' images, in their order, at (C, H, W), from the cache or decoded into it.

    Another process that makes the same cache is waited for. A file that is new, gone, or of another
    size or time makes another cache. InputError naming an image that cannot be read, and where the
    disk is too small.
    """
    about = {"format": _FORMAT, "root": str(root.resolve()), "shape": list(shape)}
    digest = hashlib.sha256(json.dumps(about).encode())
    for file in files:
        stat = file.stat()
        digest.update(f"{file.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    folder = cache_folder().parent / "images" / digest.hexdigest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / "lock"):
            _fill(folder, files, shape, progress)
        atomic_write(folder / "about.json", json.dumps(about | {"images": len(files)}))
    except OSError as e:
        raise InputError(
            "data.path", str(root), f"its cache in {folder} cannot be made: {e}"
        ) from e
    count, channels = len(files), shape[0]
    return CachedImages(
        np.memmap(folder / "pixels", np.uint8, "r", shape=(count, *shape)),
        np.array(np.memmap(folder / "moments", np.int64, "r", shape=(count, channels, 2))),
    )


def _fill(
    folder: Path, files: Sequence[Path], shape: tuple[int, int, int], progress: Progress
) -> None:
    """Decode the pieces that are not marked as done. A piece is on disk before its mark is."""
    starts = range(0, len(files), _PIECE)
    # Bytes. 16: two int64 for each channel of an image.
    sizes = {"pixels": len(files) * int(np.prod(shape)), "moments": len(files) * shape[0] * 16}
    sizes["done"] = len(starts)
    with contextlib.ExitStack() as opened:
        written: dict[str, int] = {}
        for name, size in sizes.items():
            number = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
            opened.callback(os.close, number)
            # All of it at once: a full disk is told now, not after hours.
            os.posix_fallocate(number, 0, size)
            written[name] = number
        marks = os.pread(written["done"], len(starts), 0)
        waiting = [start for mark, start in zip(marks, starts, strict=True) if not mark]
        done = len(files) - sum(min(_PIECE, len(files) - start) for start in waiting)

        def piece(start: int) -> int:
            some = files[start : start + _PIECE]
            pixels = np.stack([decoded(file, shape) for file in some])
            values = pixels.astype(np.int64)
            moments = np.stack([values.sum((2, 3)), (values**2).sum((2, 3))], axis=-1)
            for name, array in (("pixels", pixels), ("moments", moments)):
                os.pwrite(written[name], array.tobytes(), start * array[0].nbytes)
                os.fdatasync(written[name])
            os.pwrite(written["done"], b"\1", start // _PIECE)
            return len(some)

        if not waiting:
            return
        progress(done, len(files))
        # Entered last and so left first: no thread writes to a file that is closed.
        pool = opened.enter_context(_threads())
        for finished in as_completed([pool.submit(piece, start) for start in waiting]):
            done += finished.result()
            progress(done, len(files))


@contextlib.contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    affinity = getattr(os, "sched_getaffinity", None)
    pool = ThreadPoolExecutor(len(affinity(0)) if affinity else os.cpu_count())
    try:
        yield pool
    finally:
        # An image that cannot be read ends the making now, not after all the others.
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among processes; the system unlocks what was killed."""
    # Only here: where there is no fcntl, the rest can still be imported.
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
