"""Running statistics of batch normalisation, estimated anew after a network was changed."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...search_space.traced.trace import evaluating


def reestimate(network: nn.Module, batches: Iterable[Tensor], changed: Iterable[str]) -> list[str]:
    """Set the running mean and variance of every batch norm that a changed module comes before.

    They become the averages over these batches, all norms normalising by the batch meanwhile;
    dropout and the like stay off. What runs before the first changed module stays as it was.
    Returns the names of the norms.
    """
    batches = list(batches)
    order: list[str] = []
    names = {id(layer): name for name, layer in network.named_modules()}
    hooks = [
        layer.register_forward_pre_hook(lambda layer, _: order.append(names[id(layer)]))
        for layer in network.modules()
    ]
    with evaluating(network):
        try:
            network(batches[0])
        finally:
            for hook in hooks:
                hook.remove()
        first = min((order.index(name) for name in changed if name in order), default=len(order))
        norms = {
            name: norm
            for name in order[first:]
            if isinstance(norm := network.get_submodule(name), _BatchNorm)
            and norm.running_mean is not None
        }
        momenta = {name: norm.momentum for name, norm in norms.items()}
        for norm in norms.values():
            norm.reset_running_stats()
            norm.momentum = None  # a plain average over the batches
            norm.training = True
        try:
            for batch in batches:
                network(batch)
        finally:
            for name, norm in norms.items():
                norm.momentum, norm.training = momenta[name], False
    return list(norms)
