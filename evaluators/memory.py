"""How much memory an evaluation will take, beforehand and roughly: workers are counted by it."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from ..search_space import Architecture, InputError, cost
from .data.dataset import read_data_settings

_FLOAT, _HALF = 4, 2
_WEIGHT_COPIES = 4
"""Weight, gradient, and up to two numbers that the optimizer keeps."""

_SLACK = 1.5
"""What is kept for the backward pass is known; gradients on the way and workspaces are not."""

_EXAMPLES = {"digits": 1797, "mnist": 70_000, "fashion-mnist": 70_000}
_EXAMPLES |= {"cifar10": 60_000, "cifar100": 60_000}


def training_bytes(evaluator: Mapping[str, Any], arch: Architecture, device: str = "cpu") -> int:
    """While `arch` is trained with a config's `evaluator:`; an evaluator without batches: 0.

    `device`: the kind, "cpu" or "cuda". Where the passes run in bfloat16, what they keep takes half
    of what float32 would, and beside each weight there is a copy of it to compute with.
    """
    if evaluator.get("name") != "proxy":
        return 0
    batch = int(evaluator.get("batch_size", 64))
    bf16 = evaluator.get("bf16", True)
    half = bf16 == "always" or (bf16 is True and device.startswith("cuda"))
    paid = cost(arch)
    kept = paid.backward_bytes // (_FLOAT // _HALF) if half else paid.backward_bytes
    # Each example itself, normalised.
    kept += _FLOAT * prod(arch.input)
    a_weight = _WEIGHT_COPIES * _FLOAT + (_HALF if half else 0)
    return int(_SLACK * batch * kept) + a_weight * paid.params


def data_bytes(data: Mapping[str, Any], input: tuple[int, int, int]) -> int:
    """Of all examples at the networks' input size, one byte a value; 0 where nothing is known."""
    name = data.get("name")
    if name in _EXAMPLES:
        return _EXAMPLES[str(name)] * prod(input)
    path = Path(str(data.get("path", "")))
    try:
        if name == "npz":
            with zipfile.ZipFile(path) as archive:
                return sum(member.file_size for member in archive.infolist())
        if name == "tensors":
            return path.stat().st_size
        if name == "images":
            # Those that stream are in the system's page cache, where it has room.
            source, settings = read_data_settings(data)
            if source.streams(settings, input):
                return 0
            # Whatever the file is: an estimate, for which nothing is opened.
            return sum(1 for file in path.rglob("*") if file.is_file()) * prod(input)
    except (OSError, zipfile.BadZipFile, InputError):
        return 0  # the workers will say what is wrong with it
    return 0
