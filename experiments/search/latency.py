"""Latency in an experiment: measured on the device it is for, and then a cost like flops.

A config with `latency:` (or a latency in its budget or objectives) gets a table of its space's
pieces: from `latency.measured` where the config holds one, as every run directory's does, so that
a run that goes on, anywhere, goes on with the same figures; from the file `latency.table`; else
measured here and kept in the user's cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...search_space.errors import InputError
from ...search_space.files import read_json

if TYPE_CHECKING:
    from ...evaluators.latency.measure import LatencySettings
    from ...evaluators.latency.pack import Progress
    from ...evaluators.latency.table import LatencyTable
    from ...search_space import Architecture, SearchSpace
    from ...search_space.chain.parts import Part

NETWORKS = 40
"""Whole networks measured for a table: half for its correction, half for its error."""


def check(section: Mapping[str, Any]) -> None:
    """Raises InputError for settings that mean nothing; measures nothing."""
    _settings(section)


def is_known(section: Mapping[str, Any]) -> bool:
    """Whether the config says where its table is, so that nothing has to be measured."""
    return "measured" in section or "table" in section


def table_of(
    section: Mapping[str, Any],
    space: SearchSpace,
    *,
    again: bool = False,
    progress: Progress = lambda done, total: None,
) -> LatencyTable:
    """The table that a config's `latency:` means, measured now where there is none yet.

    Raises InputError.
    """
    from ...evaluators.latency.table import LatencyTable, measured_table

    if "measured" in section:
        return LatencyTable.from_dict(section["measured"])
    if "table" in section:
        return LatencyTable.from_dict(_read(section["table"]), "latency.table")
    parts, networks = _asked(space)
    return measured_table(parts, networks, _settings(section), again=again, progress=progress)


def pack_of(section: Mapping[str, Any], space: SearchSpace, progress: Progress) -> bytes:
    """The file that measures a space's table on another device. Raises InputError."""
    from ...evaluators.latency.pack import packed

    parts, networks = _asked(space)
    return packed([*parts, *(arch for arch, _ in networks)], _packable(section), progress)


def table_from(section: Mapping[str, Any], space: SearchSpace, answer: Path) -> LatencyTable:
    """The table by the answer of `pack_of`'s file. Raises InputError."""
    from ...evaluators.latency.table import answered_table

    parts, networks = _asked(space)
    return answered_table(parts, networks, _packable(section), answer)


def _asked(space: SearchSpace) -> tuple[list[Part], list[tuple[Architecture, list[str]]]]:
    """The pieces that are measured, and whole networks with the keys of theirs."""
    # Of the whole space and always the same ones: the table depends on no budget and no seed.
    everything = space.within(None)
    rng = np.random.default_rng(0)
    # Twice as many as are wanted, since some are drawn several times.
    sample = list(dict.fromkeys(everything.sample(rng, 2 * NETWORKS)))[:NETWORKS]
    while len(sample) < 4:  # of a tiny space, some twice
        sample.append(sample[0])
    networks = [(arch, [part.key for part in space.parts_of(arch)]) for arch in sample]
    return list(space.parts().all()), networks


def _packable(section: Mapping[str, Any]) -> LatencySettings:
    settings = _settings({"runtime": "onnxruntime", **section})
    if not settings.onnx:
        allowed = "a pack runs in onnxruntime: leave it out, or runtime: onnxruntime"
        raise InputError("latency.runtime", settings.runtime, allowed)
    return settings


def _settings(latency: Mapping[str, Any]) -> LatencySettings:
    from ...evaluators.latency.measure import LatencySettings
    from ...evaluators.settings import read_settings

    own = {key: value for key, value in latency.items() if key not in ("measured", "table")}
    return read_settings(LatencySettings, own, "latency")


def _read(path: Any) -> Any:
    try:
        return read_json(path)
    except (TypeError, InputError) as e:
        allowed = f"the path of a file that convnas latency wrote ({e})"
        raise InputError("latency.table", path, allowed) from e
