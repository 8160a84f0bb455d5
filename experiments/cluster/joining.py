"""A node's whole part in a search: its workers, its trials, its heartbeat. For launch and worker."""

from __future__ import annotations

from collections.abc import Callable

import optuna

from ...search_space import Architecture, FeasibleSet
from ..config.schema import ExperimentConfig
from ..search.loop import Ending
from ..search.progress import Watch
from ..search.trial_log import Ended, nobody
from ..workers.pool import WorkerPool
from .claim_loop import ClusterSearch
from .ledger import Ledger
from .node import Node


def join(
    config: ExperimentConfig,
    study: optuna.Study,
    feasible: FeasibleSet[Architecture],
    ledger: Ledger,
    pool: WorkerPool,
    *,
    stop: Callable[[], bool],
    log: Callable[[str], None],
    watch: Watch,
    on_best: Callable[[Architecture], None],
    ended: Callable[[Ended], None] = nobody,
    follow: bool,
) -> Ending:
    """Take part in the search of `study` until all its trials are over, or `stop` says so."""
    assert config.storage is not None
    with Node(ledger, heartbeat=config.storage.heartbeat, log=log) as node:
        log(f"node: {node.name}")
        search = ClusterSearch(
            config, study, feasible, node, pool, log=log, watch=watch, ended=ended, follow=follow
        )
        return search.run(stop, on_best)
