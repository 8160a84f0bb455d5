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
    """Its trained network is made when a format asks for it. `fold`: for inference; `int8`: as
    an ONNX network in 8-bit integers, which is folded too."""

    run: RunDirectory
    found: Found
    tell: Tell
    fold: bool
    int8: bool = False

    @cached_property
    def trained(self) -> Path:
        return ensure_weights(self.run, self.found.architecture, self.tell)

    @cached_property
    def info(self) -> dict[str, Any]:
        """What was kept with the weights: metrics, data, seed; of int8, its accuracy too."""
        kept = self._kept
        if not self.int8:
            return kept
        _, accuracy = self._quantised
        return {**kept, "metrics": {**kept["metrics"], "int8_test_accuracy": accuracy}}

    @cached_property
    def _kept(self) -> dict[str, Any]:
        from ...search_space import read_network_file

        return dict(read_network_file(self.trained)["info"])

    @cached_property
    def onnx(self) -> bytes:
        from .graphs import labelled, onnx_bytes

        if not self.int8:
            return onnx_bytes(self.network, self.shape, self.facts)
        return labelled(self._quantised[0], self.facts)

    @cached_property
    def _quantised(self) -> tuple[bytes, float]:
        """The network in int8, calibrated on the train split, and its test accuracy."""
        from ...evaluators.data.dataset import load_data
        from .graphs import onnx_bytes
        from .quantise import onnx_accuracy, quantised

        # Split as for the training of these weights, so that no test image is calibrated on.
        data = load_data(
            self.run.read_config().data,
            seed=self._kept["data"]["split_seed"],
            input=self.shape,
            classes=self.found.architecture.classes,
        )
        # Without facts: they hold the int8 accuracy, which is found here. `onnx` adds them.
        model = quantised(onnx_bytes(self.network, self.shape, {}), data.search.train)
        return model, onnx_accuracy(model, data.test)

    @cached_property
    def network(self) -> Network:
        """On the CPU, in evaluation mode, folded where that was asked."""
        from ...search_space import fold_batch_norm, load_network

        network = load_network(self.trained)
        return fold_batch_norm(network) if self.fold or self.int8 else network

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.found.architecture.input

    @property
    def facts(self) -> dict[str, Any]:
        return card_facts(self.found, self.info)
