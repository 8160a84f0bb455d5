"""The machine that something was measured on, for the record."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any


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


def cpu_name() -> str:
    with suppress(OSError):
        named = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        if named:
            return named[1].strip()
    return platform.processor() or platform.machine()
