"""Latency in ONNX Runtime, here or on another device: one file that measures, and its answer.

A pack is a zip that Python runs: the networks as ONNX files, what is asked, and the program
`onnxruntime_timer.py`, which needs onnxruntime alone. Here, too, times are taken by running one.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from ...search_space import Architecture, InputError, build_network
from ...search_space.chain.parts import Part
from ...search_space.files import read_json
from ...search_space.layers.fold import fold_batch_norm
from ..device import seeded
from ..onnx_graph import check_exporter, onnx_graph
from .measure import LatencySettings, Timing

Progress = Callable[[int, int], None]
"""(done, in all)"""


def asked_of(settings: LatencySettings) -> dict[str, Any]:
    """The settings that bear on a time in ONNX Runtime, as they stand in packs and answers.

    More samples make the same number surer, not another one.
    """
    names = ("runtime", "provider", "batch", "folded", "threads")
    return {name: getattr(settings, name) for name in names}


def packed(
    pieces: Iterable[Part | Architecture],
    settings: LatencySettings,
    progress: Progress = lambda done, total: None,
) -> bytes:
    """A pack, to be written to a file and run by Python. Each ONNX export takes about a second.

    Raises InputError where the extra `onnx` is not installed.
    """
    check_exporter("latency.runtime", settings.runtime)
    listed = {piece.key: piece for piece in pieces}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as pack:
        timer = resources.files(__package__) / "onnxruntime_timer.py"
        pack.writestr("__main__.py", timer.read_text(encoding="utf-8"))
        asked = {
            "pack": _digest(listed, settings),
            "settings": asked_of(settings),
            "samples": settings.samples,
            "keys": list(listed),
        }
        pack.writestr("pack.json", json.dumps(asked, indent=1))
        for done, (key, piece) in enumerate(listed.items(), 1):
            pack.writestr(f"{key}.onnx", _graph(piece, settings))
            progress(done, len(listed))
    return buffer.getvalue()


def answered(
    path: str | Path, keys: Iterable[str], settings: LatencySettings
) -> tuple[dict[str, Timing], dict[str, Any]]:
    """The times, by key, that a pack of `keys` and `settings` answered with, and where from.

    Raises InputError for any other file.
    """
    wanted = list(dict.fromkeys(keys))
    content = read_json(path)
    try:
        pack, about, times = (content[name] for name in ("pack", "about", "times"))
        found = {str(key): Timing(*map(int, time)) for key, time in times.items()}
        about = {str(name): value for name, value in about.items()}
        sound = all(0 < time.low <= time.median <= time.high for time in found.values())
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        sound = False
    if not sound:
        raise InputError(str(path), "this file", "an answer that a latency pack wrote is needed")
    if pack != _digest(wanted, settings):
        allowed = "it answers another pack: one of another space, or of other latency settings"
        raise InputError(str(path), "this file", allowed)
    missing = sum(key not in found for key in wanted)
    if missing:
        allowed = f"{missing} of {len(wanted)} times are missing; run the pack again"
        raise InputError(str(path), "this file", allowed)
    return {key: found[key] for key in wanted}, about


def timed_here(
    pieces: Iterable[Part | Architecture], settings: LatencySettings, progress: Progress
) -> dict[str, Timing]:
    """Times, by key, from a pack run now, in a process of its own. Raises InputError."""
    listed = list(pieces)
    if not listed:
        return {}
    with tempfile.TemporaryDirectory(prefix="convnas-") as folder:
        pack, answer = Path(folder) / "pack.pyz", Path(folder) / "answer.json"
        pack.write_bytes(packed(listed, settings, progress))
        command = [sys.executable, str(pack), "-o", str(answer)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().rpartition("\n")[2].removeprefix("latency pack: ")
            raise InputError("latency.runtime", settings.runtime, f"it does not run here: {said}")
        return answered(answer, (piece.key for piece in listed), settings)[0]


def _digest(keys: Iterable[str], settings: LatencySettings) -> str:
    """Of what is asked: an answer is known by it."""
    asked = json.dumps([sorted(keys), asked_of(settings)], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:16]


def _graph(piece: Part | Architecture, settings: LatencySettings) -> bytes:
    with seeded(0, torch.device("cpu")):
        if isinstance(piece, Part):
            network, shapes = piece.build(), piece.input_shapes(settings.batch)
        else:
            network, shapes = build_network(piece), [(settings.batch, *piece.input)]
    network.eval()
    if settings.folded:
        network = fold_batch_norm(network)
    tensors = tuple(torch.zeros(shape) for shape in shapes)
    # The pair (high, low) of octave convolutions is one argument.
    arguments = tensors if len(tensors) == 1 else (tensors,)
    content: bytes = onnx_graph(network, arguments).SerializeToString()
    return content
