"""The times of all pieces that a space's networks are put together from, and how far they add up.

A network's latency is taken as the sum of its pieces', times one factor that some whole networks,
measured, give (a GPU is waited for at every piece, a cache is warmer within a network). The
table's error is that of this estimate on other whole networks, which had no say in the factor.
Measurements are kept by device and settings: a piece is measured once.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ...search_space import Architecture, InputError
from ...search_space.chain.parts import Part
from ...search_space.files import atomic_write
from ..device import cpu_name, resolve_device
from .measure import LatencySettings, Timing, network_latency, part_latency

Progress = Callable[[int, int], None]
"""(measured, in all)"""


@dataclass(frozen=True)
class LatencyTable:
    """`times`: a part's key -> nanoseconds, to be added up. `about`: device and settings.

    `error`: the median of |estimate - measured| / measured over `networks` whole networks, and
    `worst` the greatest; `spread`: the median of the pieces' own spread while they were measured.
    """

    times: Mapping[str, int]
    about: Mapping[str, Any]
    error: float
    worst: float
    spread: float
    networks: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data, which `from_dict` takes."""
        return asdict(self)

    @classmethod
    def from_dict(cls, mapping: Any, key: str = "latency.measured") -> LatencyTable:
        """The inverse; InputError for anything else."""
        try:
            times = {str(part): int(time) for part, time in mapping["times"].items()}
            error, worst, spread = (float(mapping[name]) for name in ("error", "worst", "spread"))
            networks = int(mapping["networks"])
            return cls(times, dict(mapping["about"]), error, worst, spread, networks)
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as e:
            what = "a table as convnas latency writes it is needed"
            raise InputError(key, "this table", f"{what} ({type(e).__name__}: {e})") from e


def measured_table(
    parts: Iterable[Part],
    networks: Sequence[tuple[Architecture, Sequence[str]]],
    settings: LatencySettings,
    *,
    again: bool = False,
    progress: Progress = lambda done, total: None,
) -> LatencyTable:
    """Measure what the cache does not hold yet.

    networks: architectures with the keys of their parts; half of them, at least two, give the
    factor, the others the error. `again` measures everything anew.
    """
    device = resolve_device(settings.device)
    cache = Cache(settings, device)
    # With `again` the file is written anew, without what other spaces had in it.
    known = {} if again else cache.read()
    parts = list(parts)
    missing = [part for part in parts if part.key not in known]
    whole = [(arch, keys) for arch, keys in networks if again or arch.key not in known]
    total = len(missing) + len(whole)
    try:
        for done, part in enumerate(missing, 1):
            known[part.key] = part_latency(part, settings, device)
            progress(done, total)
        for done, (arch, _) in enumerate(whole, len(missing) + 1):
            known[arch.key] = network_latency(arch, settings, device)
            progress(done, total)
    finally:
        # Interrupted too: what was measured until then is kept.
        cache.write(known)
    return _fitted(known, [part.key for part in parts], networks, cache.about)


def _fitted(
    known: Mapping[str, Timing],
    keys: Sequence[str],
    networks: Sequence[tuple[Architecture, Sequence[str]]],
    about: Mapping[str, Any],
) -> LatencyTable:
    ratios = [
        known[arch.key].median / sum(known[key].median for key in own) for arch, own in networks
    ]
    # Every other network, so that both halves are alike in whatever order they come.
    factor = statistics.median(ratios[::2])
    # A ratio is measured / sum, so estimate / measured = factor x sum / measured = factor / ratio.
    errors = [abs(factor / ratio - 1) for ratio in ratios[1::2]]
    return LatencyTable(
        times={key: round(factor * known[key].median) for key in keys},
        about=about,
        error=statistics.median(errors),
        worst=max(errors),
        spread=statistics.median(known[key].spread for key in keys),
        networks=len(errors),
    )


class Cache:
    """Measurements of one device with one choice of settings, in a file of the user's cache."""

    def __init__(self, settings: LatencySettings, device: torch.device) -> None:
        gpu = device.type == "cuda"
        self.about: dict[str, Any] = {
            # More samples make the same number surer, not another one.
            **{name: value for name, value in asdict(settings).items() if name != "samples"},
            # Without an index: equal GPUs share what was measured on one of them.
            "device": "cuda" if gpu else "cpu",
            "machine": torch.cuda.get_device_name(device) if gpu else cpu_name(),
            "system": platform.system(),
            "torch": torch.__version__,
        }
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
