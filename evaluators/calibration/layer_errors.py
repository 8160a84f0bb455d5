"""How far each replacement of a convolution is from what it replaces, on images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ...search_space import Choice
from ...search_space.traced.carry import carried
from ...search_space.traced.options import VANILLA, LayerOptions
from ...search_space.traced.trace import evaluating


def layer_errors(
    model: nn.Module,
    layers: Sequence[LayerOptions],
    images: Tensor,
    *,
    fit: bool,
    tell: Callable[[str], None] = lambda name: None,
) -> dict[str, dict[Choice, float]]:
    """Module name -> choice -> its error's mean square over the variance of the layer's output.

    fit: half of the images move the replacement's weights (see `carry.py`), the other half measure;
    else the weights come from the kernel and all images measure. `tell` hears each layer's name.
    """
    found: dict[str, dict[Choice, float]] = {}

    def measure(each: LayerOptions, x: Tensor, y: Tensor) -> None:
        if each.layer.name in found:
            return  # its first pass decides
        tell(each.layer.name)
        half = (len(x) + 1) // 2
        seen, held = (x[:half], slice(half, None)) if fit else (None, slice(None))
        wanted = y[held]
        variance = (wanted - wanted.mean((0, 2, 3), keepdim=True)).square().sum()
        errors = {VANILLA: 0.0}
        for choice in each.costs:
            if choice != VANILLA:
                made = carried(_conv(each), each.layer.calls[0], choice, seen).eval()
                wrong = (made(x[held]) - wanted).square().sum()
                errors[choice] = float(wrong / variance) if variance > 0 else float(wrong > 0)
        found[each.layer.name] = errors

    _visit(model, layers, images, measure)
    return found


def carried_layers(
    model: nn.Module,
    layers: Sequence[LayerOptions],
    choices: Mapping[str, Choice],
    images: Tensor | None,
) -> dict[str, nn.Module]:
    """Module name -> what takes its place, fitted on all images; None: by the kernels alone."""
    made: dict[str, nn.Module] = {}
    chosen = [each for each in layers if each.layer.name in choices]

    def carry(each: LayerOptions, x: Tensor | None, _: Tensor | None = None) -> None:
        name = each.layer.name
        if name not in made:
            made[name] = carried(_conv(each), each.layer.calls[0], choices[name], x)

    if images is None:
        for each in chosen:
            carry(each, None)
    else:
        _visit(model, chosen, images, carry)
    return made


def _visit(
    model: nn.Module,
    layers: Sequence[LayerOptions],
    images: Tensor,
    look: Callable[[LayerOptions, Tensor, Tensor], Any],
) -> None:
    """Run the model, and look at what each layer reads and gives, one layer's maps at a time."""
    hooks = [
        _conv(each).register_forward_hook(lambda _, args, out, each=each: look(each, args[0], out))
        for each in layers
    ]
    try:
        with evaluating(model):
            model(images)
    finally:
        for hook in hooks:
            hook.remove()


def _conv(each: LayerOptions) -> nn.Conv2d:
    assert isinstance(each.layer.module, nn.Conv2d)
    return each.layer.module
