"""Measured times kept by device and settings in the user's cache: a piece is measured once."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ...search_space.files import atomic_write
from ..device import cpu_name
from ..onnx_graph import check_exporter
from .measure import LatencySettings, Timing
from .pack import asked_of


class Cache:
    """Measurements of one device with one choice of settings, in a file of the user's cache."""

    def __init__(self, settings: LatencySettings, device: torch.device) -> None:
        self.about = about_onnxruntime(settings) if settings.onnx else about_torch(settings, device)
        digest = hashlib.sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()[:16]
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        self.path = Path(base) / "convnas" / "latency" / f"{digest}.json"

    def read(self) -> dict[str, Timing]:
        """What is known; a file that cannot be read is as good as none."""
        try:
            content = json.loads(self.path.read_text())
            return {key: Timing(*map(int, value)) for key, value in content["times"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {}

    def write(self, known: Mapping[str, Timing]) -> None:
        """Keep it; where nothing may be written, the next one measures again."""
        times = {key: [time.median, time.low, time.high] for key, time in known.items()}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(self.path, json.dumps({"about": self.about, "times": times}))
        except OSError:
            return


def about_torch(settings: LatencySettings, device: torch.device) -> dict[str, Any]:
    """Settings, device and versions that a time in torch depends on."""
    gpu = device.type == "cuda"
    # More samples make the same number surer, not another one; a provider is ONNX Runtime's.
    left_out = ("samples", "provider")
    return {
        **{name: value for name, value in asdict(settings).items() if name not in left_out},
        # Without an index: equal GPUs share what was measured on one of them.
        "device": "cuda" if gpu else "cpu",
        "machine": torch.cuda.get_device_name(device) if gpu else cpu_name(),
        "system": platform.system(),
        "torch": torch.__version__,
    }


def about_onnxruntime(settings: LatencySettings) -> dict[str, Any]:
    """As the answer of a pack that is run here says it. InputError where it cannot run here."""
    check_exporter("latency.runtime", settings.runtime)
    import onnxruntime

    return {
        **asked_of(settings),
        "machine": cpu_name(),
        "system": platform.system(),
        "onnxruntime": onnxruntime.__version__,
    }
