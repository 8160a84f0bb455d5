"""Latency in an experiment: measured on the device that the network is for, and then a cost like flops.

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
    from ..config.schema import ExperimentConfig

NAME = "latency"
NETWORKS = 16
"""Whole networks measured for a table: half for its factor, half for its error."""


def is_wanted(config: ExperimentConfig) -> bool:
    return bool(config.latency) or NAME in config.budget or NAME in config.objectives


def timed(config: ExperimentConfig, space: SearchSpace) -> SearchSpace:
    """The space with latency among its costs where the config wants it. Raises InputError."""
    if not is_wanted(config):
        return space
    return space.timed(table_of(config, space).times)


def check(config: ExperimentConfig) -> None:
    """Raises InputError for settings that mean nothing; measures nothing."""
    _settings(config.latency)


def table_of(
    config: ExperimentConfig,
    space: SearchSpace,
    *,
    again: bool = False,
    progress: Progress = lambda done, total: None,
) -> LatencyTable:
    """The config's table, measured now where there is none yet. Raises InputError."""
    from ...evaluators.latency.table import LatencyTable, measured_table

    if "measured" in config.latency:
        return LatencyTable.from_dict(config.latency["measured"])
    if "table" in config.latency:
        return LatencyTable.from_dict(_read(config.latency["table"]), "latency.table")
    everything = space.within(None)
    rng = np.random.default_rng(0)
    sample = list(dict.fromkeys(everything.sample(rng, NETWORKS)))
    while len(sample) < 4:  # of a tiny space, some twice
        sample.append(sample[0])
    networks = [(arch, [part.key for part in space.parts_of(arch)]) for arch in sample]
    parts = space.parts().all()
    return measured_table(
        parts, networks, _settings(config.latency), again=again, progress=progress
    )


def with_measured(config: ExperimentConfig, kept: ExperimentConfig | None) -> ExperimentConfig:
    """The config with the table in it: that of the run going on, `kept`, or its own."""
    if not is_wanted(config):
        return config
    if kept is not None and "measured" in kept.latency:
        measured = kept.latency["measured"]
    else:
        measured = table_of(config, config.search_space()).to_dict()
    return config.model_copy(update={NAME: {**config.latency, "measured": measured}})


def _settings(latency: Mapping[str, Any]) -> Any:
    from ...evaluators.latency.measure import LatencySettings
    from ...evaluators.settings import read_settings

    own = {key: value for key, value in latency.items() if key not in ("measured", "table")}
    return read_settings(LatencySettings, own, NAME)


def _read(path: Any) -> Any:
    try:
        return read_json(path)
    except (TypeError, InputError) as e:
        allowed = f"the path of a file that convnas latency wrote ({e})"
        raise InputError("latency.table", path, allowed) from e
