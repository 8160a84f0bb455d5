"""Any run in NNI's web UI afterwards, whether NNI ran it or not: read-only, from a copy."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ...search_space.errors import InputError
from ..errors import RunError
from ..run import study as records
from ..run.directory import RunDirectory
from ..run.soundness import sound_trials
from ..search.prepare import prepare
from .database import write_database
from .driver.experiment_profile import experiment_id, profile
from .driver.manager import Manager
from .guard import check_place
from .parameters import nni_space

_LOOK = 0.5
"""Seconds between two looks at whether it is to end."""


def show(
    run: RunDirectory,
    host: str,
    port: int,
    announce: Callable[[str], None],
    stop: Callable[[], bool],
) -> None:
    """Show the trials that are over, at `port`, until `stop` says so.

    The run directory is only read. Raises InputError where there is nothing to show or `host` is
    another machine, RunError where NNI does not start or ends.
    """
    check_place(host, port)
    config = run.read_config()
    feasible = prepare(config).feasible
    with tempfile.TemporaryDirectory(prefix="convnas-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        facts = profile(
            config.name,
            nni_space(feasible.distributions),
            # A view starts no trial: the profile must have a command, and that is all.
            command="true",
            folder=folder,
            concurrency=1,
            trials=config.trials,
            tuner={"config": str(run.config_path.absolute())},
        )
        name = experiment_id(config.name)
        storage = records.open_storage(run.study)
        try:
            study = records.study_at(storage, run.study)
            sound_trials(study, run.study)
            count = write_database(folder / name, study, feasible, facts, name)
        finally:
            storage.engine.dispose()
        if not count:
            raise InputError("RUN_DIR", str(run.path), "it has no trial that is over yet")
        with Manager(port, folder, log=folder / "manager.log") as manager:
            if not manager.start("view", name, facts, stop):
                return
            announce(manager.address)
            while not stop():
                if manager.exit_code is not None:
                    raise RunError(f"NNI's manager ended with {manager.exit_code}")
                time.sleep(_LOOK)
