"""Latency in an experiment: measured on the device it is for, and then a cost like flops.

A config with `latency:` (or a latency in its budget or objectives) gets a table of its space's
pieces: from `latency.measured` where the config holds one, as every run directory's does, so that
a run that goes on, anywhere, goes on with the same figures; from the file `latency.table`; else
measured here and kept in the user's cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...search_space.errors import InputError
from ...search_space.files import read_json

if TYPE_CHECKING:
    from ...evaluators.latency.table import LatencyTable, Progress
    from ...search_space import SearchSpace

NETWORKS = 16
"""Whole networks measured for a table: half for its factor, half for its error."""


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
    # Of the whole space and always the same ones: the table depends on no budget and no seed.
    everything = space.within(None)
    rng = np.random.default_rng(0)
    sample = list(dict.fromkeys(everything.sample(rng, NETWORKS)))
    while len(sample) < 4:  # of a tiny space, some twice
        sample.append(sample[0])
    networks = [(arch, [part.key for part in space.parts_of(arch)]) for arch in sample]
    parts = space.parts().all()
    return measured_table(parts, networks, _settings(section), again=again, progress=progress)


def _settings(latency: Mapping[str, Any]) -> Any:
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
