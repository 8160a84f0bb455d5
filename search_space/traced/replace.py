"""A copy of a network with some of its convolutions replaced, under the names they had."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import nn


def replaced(model: nn.Module, modules: Mapping[str, nn.Module]) -> nn.Module:
    """A copy of `model` with these modules in the places of the same names."""
    # The layers to be replaced are not copied: deepcopy takes them for done.
    originals = {name: model.get_submodule(name) for name in modules}
    memo = {id(original): modules[name] for name, original in originals.items()}
    network: nn.Module = copy.deepcopy(model, memo)
    return network
