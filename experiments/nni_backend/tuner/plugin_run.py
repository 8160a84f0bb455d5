"""Which run an experiment belongs to that NNI's user has started."""

from __future__ import annotations

from pathlib import Path

from ....search_space.errors import InputError
from ...run.directory import RunDirectory


def run_of(config: str | Path, run_dir: str | Path | None) -> tuple[Path, RunDirectory]:
    """The config's absolute path, and its run.

    The run is `run_dir`; without it the one that the config lies in, or runs/NAME beside it.
    Raises InputError for a config that is not there.
    """
    path = Path(config).expanduser()
    if not path.is_absolute():
        allowed = "NNI starts tuners in a folder of its own, so give the config's absolute path"
        raise InputError("classArgs.config", str(config), allowed)
    if run_dir is not None:
        return path, RunDirectory(path.parent / Path(run_dir).expanduser())
    beside = RunDirectory(path.parent)
    if beside.config_path == path and beside.study_path.exists():
        return path, beside
    from ...config.schema import parse_config

    return path, RunDirectory(path.parent / "runs" / parse_config(path).name)
