"""What `convnas launch --backend nni` does beyond a local launch: the manager, and all around it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import optuna

from ...search_space import Architecture, FeasibleSet
from ..config import ExperimentConfig
from ..run_dir import RunDirectory
from ..search import Ending
from ..telling import Telling
from ..workers import Pool
from .database import write_database
from .desk import Desk
from .manager import Manager
from .parameters import nni_space
from .profile import experiment_id, profile
from .search import NNISearch
from .switchboard import Switchboard
from .variables import CURRENT_FOLDER, SOCKET


def run_under_nni(
    config: ExperimentConfig,
    run: RunDirectory,
    study: optuna.Study,
    feasible: FeasibleSet[Architecture],
    telling: Telling,
    pool: Pool,
    *,
    concurrency: int,
    stop: Callable[[], bool],
    announce: Callable[[str], None],
) -> Ending:
    """Run the search there; `announce` takes the dashboard's address once it answers."""
    telling.take_stock()
    if telling.best is not None:
        run.write_best(telling.best[1])
    telling.show("")
    if telling.open <= 0:
        return "done"
    port = config.backend.port
    search = NNISearch(config, study, telling, pool)
    with ExitStack() as stack:
        board = stack.enter_context(Switchboard(search.heard))
        folder = run.path / "nni"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        facts = profile(
            config.name,
            nni_space(feasible.distributions),
            command=_trial_command(),
            folder=folder,
            concurrency=min(concurrency, telling.open),
            trials=config.trials,
            tuner={"config": str(run.config_path.absolute())},
        )
        name = experiment_id(config.name)
        earlier = write_database(folder / name, study, feasible, facts, name)
        manager = stack.enter_context(
            Manager(
                port,
                folder,
                log=run.log_path,
                environment={SOCKET: str(board.path), CURRENT_FOLDER: os.getcwd()},
            )
        )
        stack.callback(search.let_go)
        if not manager.start("resume" if earlier else "create", name, facts, stop):
            return "stopped"
        desk = stack.enter_context(Desk(port))
        run.log(f"NNI: http://127.0.0.1:{port}")
        announce(f"http://127.0.0.1:{port}")
        return search.run(desk, manager, stop, run.write_best)


def _trial_command() -> str:
    return shlex.join([sys.executable, "-S", "-E", str(Path(__file__).with_name("shim.py"))])
