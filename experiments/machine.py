"""The machine that something was measured on, for the record."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from contextlib import suppress
from typing import Any

from ..evaluators.device import cpu_name


def conditions(device: str = "cpu") -> dict[str, Any]:
    """CPU, cores, load, versions, and the GPU where `device` is one; plain data."""
    found: dict[str, Any] = {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "convnas": importlib.metadata.version("convnas"),
        "device": device,
    }
    with suppress(OSError):
        found["load"] = round(os.getloadavg()[0], 1)
    if device.startswith("cuda"):
        import torch

        found["gpu"] = torch.cuda.get_device_name(device)
    return found
