"""An architecture on its way out of a run: its weights, its network, its facts, each made once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...search_space.network.build import Network
from ..run.directory import RunDirectory
from ..run.results import Found
from .final_training import Tell, ensure_weights
from .model_card import card_facts


@dataclass
class Exported:
    """Its trained network is made when a format asks for it. `fold`: for inference."""

    run: RunDirectory
    found: Found
    tell: Tell
    fold: bool

    @cached_property
    def trained(self) -> Path:
        return ensure_weights(self.run, self.found.architecture, self.tell)

    @cached_property
    def info(self) -> dict[str, Any]:
        """What was kept with the weights: metrics, data, seed."""
        from ...search_space import read_network_file

        return dict(read_network_file(self.trained)["info"])

    @cached_property
    def network(self) -> Network:
        """On the CPU, in evaluation mode, folded where that was asked."""
        from ...search_space import fold_batch_norm, load_network

        network = load_network(self.trained)
        return fold_batch_norm(network) if self.fold else network

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.found.architecture.input

    @property
    def facts(self) -> dict[str, Any]:
        return card_facts(self.found, self.info)
