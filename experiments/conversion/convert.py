"""A trained network to a cheaper one: `convnas.convert`.

Every replacement of every convolution is measured by itself; the errors are added up, and the sum
is minimised exactly inside the budget. Nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ...evaluators.calibration.batch_norm import reestimate
from ...evaluators.calibration.images import take_images
from ...evaluators.calibration.layer_errors import carried_layers, layer_errors
from ...search_space import Budget, Choice, InputError
from ...search_space.chain.score import with_score
from ...search_space.feasible.least_sum import least_sum
from ...search_space.feasible.limits import InfeasibleBudget
from ...search_space.layers.base import LayerCost
from ...search_space.traced.options import VANILLA
from ...search_space.traced.replace import replaced
from ...search_space.traced.space import DEFAULT, Replacement, TracedSpace
from ...search_space.traced.trace import check_model
from .limit import CostLimit, read_limit

MEASURED = 64
"""Images that layers are fitted and measured on, half of them each."""
SEEN = 512
"""Images that batch normalisation is estimated on."""
_BATCH = 64
"""At most, in batches of nearly equal size: one of a single image has no variance."""
_UNIT = 100_000
"""Integers to an error as large as the layer's variance."""


@dataclass(frozen=True)
class Converted:
    """The converted network, and what was done.

    network: a copy of the model, its convolutions replaced under their names; what was not replaced
    has the weights that it had. before, after: exact costs of one input. errors: of every layer
    that could be replaced, each choice's error alone, see `layer_errors`. norms: whose statistics
    were estimated anew.
    """

    network: nn.Module
    replacement: Replacement
    limit: CostLimit
    before: LayerCost
    after: LayerCost
    space: TracedSpace
    errors: Mapping[str, Mapping[Choice, float]]
    norms: tuple[str, ...]


def convert(
    model: nn.Module,
    example: Tensor,
    budget: Any = "60%",
    *,
    data: Any = None,
    options: Mapping[str, Any] = DEFAULT,
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    tell: Callable[[str], None] = lambda name: None,
) -> Converted:
    """A cheaper copy of a trained network; the model itself stays as it was.

    example: a batch (N, C, H, W) that the model takes, on its device. budget: "60%" of the model's
    multiply-adds, a number ("1.5G"), or {"params": ...}, {"activations": ...}. data: images as
    the network sees them, prepared as in its training: a tensor, a loader or a data set. Without
    it the weights come from the kernels alone, errors are measured on the example, and statistics
    of batch normalisation stay. options: what layers may become, as in a config's `stage`. only,
    exclude: patterns of module names. tell: hears the name of each layer that is measured.

    Raises InputError: for a model that cannot be traced (the module is named) or has no
    convolution, an example or data that do not fit, and a budget below the cheapest.
    """
    check_model(model)
    if not isinstance(example, Tensor) or example.ndim != 4 or not len(example):
        shown = list(example.shape) if isinstance(example, Tensor) else type(example).__name__
        raise InputError("example", shown, "a tensor of images, (N, C, H, W)")
    space = TracedSpace(model, example, options=options, only=only, exclude=exclude)
    limit = read_limit(budget, space.cost)
    check_reachable(space, limit, budget)
    images = example if data is None else take_images(data, example, SEEN)
    fit = data is not None and len(images) > 1
    errors = layer_errors(model, space.open, images[:MEASURED], fit=fit, tell=tell)
    best = least_error(space, limit, errors)
    choices = dict(best.choices)
    made = carried_layers(model, space.open, choices, images[:MEASURED] if fit else None)
    network = replaced(model, made)
    norms = (
        reestimate(network, images.chunk(-(-len(images) // _BATCH)), made) if fit and made else []
    )
    return Converted(
        network, best, limit, space.cost, space.cost_of(best), space, errors, tuple(norms)
    )


def check_reachable(space: TracedSpace, limit: CostLimit, budget: Any) -> None:
    """InputError, naming the cheapest network, where none is inside the budget."""
    try:
        space.within(Budget(**{limit.kind: max(limit.most, 1)}))
    except InfeasibleBudget as e:
        if e.nearest is None:
            raise
        share = 100 * e.nearest / getattr(space.cost, limit.kind)
        allowed = f"{e.allowed}, {share:.1f}% of {limit.kind}"
        raise InputError("budget", budget, allowed) from e


def least_error(
    space: TracedSpace, limit: CostLimit, errors: Mapping[str, Mapping[Choice, float]]
) -> Replacement:
    """The replacement with the least sum of errors inside the limit, exactly."""
    effects = [
        [round(_UNIT * errors[each.layer.name][choice]) for choice in each.costs]
        for each in space.open
    ]
    chain = with_score(space.chain, "error", effects)
    row, limited = chain.costs.index("error"), chain.costs.index(limit.kind)
    best = least_sum(chain, row, limited, limit.most)
    assert best is not None  # the cheapest is inside
    return space.decode(best)


def rows_of(converted: Converted) -> list[dict[str, Any]]:
    """Layer by layer, plain data: name, what it has become or why it stays, costs and error."""
    chosen = dict(converted.replacement.choices)
    rows = []
    for each in converted.space.layers:
        name = each.layer.name
        choice = chosen.get(name, VANILLA)
        why = each.layer.stays
        if why is None and len(each.costs) < 2:
            # One reason an operator: its numbers fail alike.
            reasons = {left.conv: text for left, text in reversed(each.left_out.items())}
            why = "; ".join(dict.fromkeys(reasons.values()))
        elif why is None and choice == VANILLA:
            why = "the budget is met without it"
        own, now = each.costs.get(VANILLA), each.costs.get(choice)
        rows.append(
            {
                "name": name,
                "becomes": choice.text if choice != VANILLA else None,
                "stays": why,
                "flops": own and [own.flops, now.flops if now else own.flops],
                "params": own and [own.params, now.params if now else own.params],
                "error": converted.errors.get(name, {}).get(choice),
            }
        )
    return rows
