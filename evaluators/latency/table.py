"""The times of all pieces that a space's networks are put together from, and how far they add up.

A network's latency is taken as the sum of its pieces', corrected by what some whole networks,
measured, say: see `fit.py`. The table's error is that of this estimate on other whole networks,
which had no say in the correction. Measurements are kept by device and settings: a piece is
measured once.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...search_space import Architecture, InputError
from ...search_space.chain.parts import Part
from ..device import resolve_device
from .cache import Cache
from .fit import corrected, kendall_tau, relative_errors
from .measure import LatencySettings, Timing, network_latency, part_latency
from .pack import Progress, answered, timed_here

Networks = Sequence[tuple[Architecture, Sequence[str]]]
"""Architectures with the keys of their parts; half of them, at least two, give the correction, the
others the error."""


@dataclass(frozen=True)
class LatencyTable:
    """`times`: a part's key -> nanoseconds, to be added up. `about`: device and settings.

    `error`: the median of |estimate - measured| / measured over `networks` whole networks, and
    `worst` the greatest; `tau`: Kendall's, of estimate and measured over them, None where one side
    is all ties. `plain_error` and `plain_tau`: the same of the pieces' sum, uncorrected. `spread`:
    the median of the pieces' own spread while they were measured.
    """

    times: Mapping[str, int]
    about: Mapping[str, Any]
    error: float
    worst: float
    spread: float
    networks: int
    tau: float | None = None
    plain_error: float | None = None
    plain_tau: float | None = None

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
            # Not in tables of before they were told.
            told = (mapping.get(name) for name in ("tau", "plain_error", "plain_tau"))
            more = (None if value is None else float(value) for value in told)
            return cls(times, dict(mapping["about"]), error, worst, spread, networks, *more)
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as e:
            what = "a table as convnas latency writes it is needed"
            raise InputError(key, "this table", f"{what} ({type(e).__name__}: {e})") from e


def measured_table(
    parts: Iterable[Part],
    networks: Networks,
    settings: LatencySettings,
    *,
    again: bool = False,
    progress: Progress = lambda done, total: None,
) -> LatencyTable:
    """Measure what the cache does not hold yet. `again` measures everything anew.

    In ONNX Runtime all that is missing is measured at once, and progress is that of the exports.
    """
    device = resolve_device(settings.device)
    cache = Cache(settings, device)
    # With `again` the file is written anew, without what other spaces had in it.
    known = {} if again else cache.read()
    parts = list(parts)
    # The networks of a tiny space come several times.
    pieces: dict[str, Part | Architecture] = {part.key: part for part in parts}
    pieces |= {arch.key: arch for arch, _ in networks}
    missing = [piece for key, piece in pieces.items() if key not in known]
    try:
        if settings.onnx:
            known |= timed_here(missing, settings, progress)
        else:
            for done, piece in enumerate(missing, 1):
                if isinstance(piece, Part):
                    known[piece.key] = part_latency(piece, settings, device)
                else:
                    known[piece.key] = network_latency(piece, settings, device)
                progress(done, len(missing))
    finally:
        # Interrupted too: what was measured until then is kept.
        cache.write(known)
    return _table(known, parts, networks, cache.about)


def answered_table(
    parts: Iterable[Part], networks: Networks, settings: LatencySettings, answer: Path
) -> LatencyTable:
    """From the answer of a pack of these parts and networks. Raises InputError."""
    parts = list(parts)
    keys = [*(part.key for part in parts), *(arch.key for arch, _ in networks)]
    known, about = answered(answer, keys, settings)
    return _table(known, parts, networks, about)


def _table(
    known: Mapping[str, Timing], parts: Sequence[Part], networks: Networks, about: Mapping[str, Any]
) -> LatencyTable:
    # The lower quartile: whatever else the machine does only ever adds time.
    plain = {part.key: known[part.key].low for part in parts}
    whole = [(own, known[arch.key].low) for arch, own in networks]
    # Every other network, so that both halves are alike in whatever order they come.
    learned_from, held_out = whole[::2], whole[1::2]
    times = corrected(plain, {part.key: _kind(part) for part in parts}, learned_from)
    errors, plain_errors = (relative_errors(table, held_out) for table in (times, plain))
    return LatencyTable(
        times=times,
        about=about,
        error=statistics.median(errors),
        worst=max(errors),
        spread=statistics.median(known[part.key].spread for part in parts),
        networks=len(held_out),
        tau=kendall_tau(times, held_out),
        plain_error=statistics.median(plain_errors),
        plain_tau=kendall_tau(plain, held_out),
    )


def _kind(part: Part) -> str:
    """The kinds of layers in it: Norm Octave Relu."""
    return " ".join(sorted({type(each).__name__ for block in part.blocks for each in block.layers}))
