"""NNI's one-shot strategies train the supernets of our spaces; what they find is converted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convnas import Architecture, Budget, SearchSpace, build_network, cost
from convnas.evaluators.data.dataset import load_data
from convnas.evaluators.data.split import Split
from convnas.strategies.nni_nas.conversion import Conversion
from convnas.strategies.nni_nas.loading import load_nni_nas

load_nni_nas()
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from nni.nas.strategy import DARTS, GumbelDARTS, Proxyless, RandomOneShot

LIMIT, TIGHT = 900_000, 740_000
SPACE = {
    "backbone": "resnet-cifar",
    "input": [1, 8, 8],
    "classes": 10,
    "stage": {
        "conv": ["vanilla", "octave", "hetconv", "res2net"],
        "alpha": [0.5],
        "p": [4],
        "scales": [2],
    },
}

pytestmark = [
    # Lightning's and NNI's own, of torch's and of their own loaders and exports.
    pytest.mark.filterwarnings("ignore:`isinstance\\(treespec, LeafSpec\\)`"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


def conversion(limit: int | None = LIMIT, **changes: Any) -> Conversion:
    budget = None if limit is None else Budget(flops=limit)
    return Conversion(SearchSpace.from_config({**SPACE, **changes}), budget)


def loader(split: Split, n: int) -> Any:
    return DataLoader(torch.utils.data.TensorDataset(split.pixels[:n], split.labels[:n]), 32)


def initialised(strategy: Any, of: Conversion) -> Any:
    """The strategy with its supernet, ready for two epochs on 128 digits."""
    torch.manual_seed(0)
    data = load_data({"name": "digits"}, seed=0, input=(1, 8, 8), classes=10).search
    evaluator = Classification(
        num_classes=10,
        train_dataloaders=loader(data.train.floating(), 128),
        val_dataloaders=loader(data.validation.floating(), 64),
        max_epochs=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    models = RawFormatModelSpace(of.model_space(), evaluator)
    strategy.initialize(models, SequentialExecutionEngine())
    return strategy


def trained(strategy: Any, of: Conversion) -> Any:
    initialised(strategy, of).run()
    return strategy


@pytest.mark.parametrize("make", [DARTS, GumbelDARTS, Proxyless])
def test_what_a_differentiable_strategy_prefers_is_the_likeliest_inside_the_budget(
    make: Any,
) -> None:
    of = conversion()
    strategy = trained(make(arc_learning_rate=0.1), of)
    alphas = {
        module.label: module._arch_alpha.detach()
        for module in strategy.supernet.modules()
        if hasattr(module, "_arch_alpha")
    }
    assert all(alpha.abs().max() > 0.02 for alpha in alphas.values())  # started within 0.005
    best = of.best(strategy)
    assert cost(best).flops <= LIMIT

    def chance(architecture: Architecture) -> float:
        sample = of.sample(architecture)
        names = {label: m.values for label, m in strategy.model_space.simplify().items()}
        return sum(
            float(alphas[label].softmax(0)[names[label].index(name)].log())
            for label, name in sample.items()
        )

    assert chance(best) == max(chance(architecture) for architecture in of.feasible)
    # NNI exports its favourite whatever it costs (Proxyless draws): without a budget so do we.
    free = conversion(None)
    assert make is Proxyless or free.best(strategy) == free.architecture(
        next(strategy.list_models()).sample
    )


def test_in_a_set_too_large_to_list_no_neighbour_is_likelier() -> None:
    stage = {"conv": ["vanilla", "octave", "hetconv"], "alpha": [0.25, 0.5], "p": [2, 4, 8]}
    of = conversion(1_900_000, backbone="resnet20", granularity="block", stage=stage)
    assert not of.feasible.holds_at_most(200_000)
    strategy = initialised(DARTS(), of)
    rng = np.random.default_rng(0)
    chances: dict[str, dict[str, float]] = {}
    for module in strategy.supernet.modules():
        if hasattr(module, "_arch_alpha"):
            shares = rng.dirichlet(np.ones(len(module.names)))
            module._arch_alpha.data = torch.from_numpy(np.log(shares)).float()
            chances[module.label] = dict(zip(module.names, np.log(shares), strict=True))

    def chance(architecture: Architecture) -> float:
        return sum(chances[label][name] for label, name in of.sample(architecture).items())

    best = of.best(strategy)
    assert cost(best).flops <= 1_900_000
    assert chance(best) >= max(chance(other) for other in of.feasible.neighbours(best))
    assert chance(best) > max(map(chance, of.feasible.sample(rng, 1000)))


def test_random_one_shot_trains_paths_inside_a_budget_and_the_best_of_them_is_found() -> None:
    of = conversion(TIGHT)
    assert of.feasible.count < 0.1 * of.feasible.size
    strategy = trained(of.random_one_shot(seed=0), of)
    sample = next(strategy.list_models()).sample
    assert cost(of.architecture(sample)).flops <= TIGHT
    paths: list[Architecture] = []

    def score(path: nn.Module) -> float:
        assert path.eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
        paths.append(path)
        return -abs(len(paths) - 3)

    best = of.best_path(strategy, score, n=1000)
    assert len(paths) == of.feasible.count
    assert best in of.feasible
    with pytest.raises(ValueError, match="RandomInside weighs no candidates; try best_path"):
        of.best(strategy)


@pytest.fixture(scope="module")
def supernet() -> tuple[Conversion, Any]:
    """NNI's own RandomOneShot, with its own filter."""
    of = conversion(1_200_000)
    return of, trained(RandomOneShot(filter=of.inside), of).supernet


def test_a_path_without_octaves_is_its_architectures_network(supernet: Any) -> None:
    of, net = supernet
    plain = [a for a in of.feasible if all(s.conv != "octave" for s in a.stages)]
    for architecture in (plain[0], plain[-1]):
        compare(net, of, architecture)


def test_a_path_that_ends_in_an_octave_stage_is_its_architectures_network(supernet: Any) -> None:
    # The head averages: over an upsampled low part as over the low part itself.
    of, net = supernet
    last = [
        a for a in of.feasible if [s.conv == "octave" for s in a.stages] == [False, False, True]
    ]
    compare(net, of, last[0])


def compare(net: Any, of: Conversion, architecture: Architecture) -> None:
    path = net.freeze(of.sample(architecture)).eval()
    network = build_network(architecture).eval()
    weights = [value for key, value in path.state_dict().items()]
    assert [v.shape for v in weights] == [v.shape for v in network.state_dict().values()]
    network.load_state_dict(dict(zip(network.state_dict(), weights, strict=True)))
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 1, 8, 8))).float()
    torch.testing.assert_close(path(x), network(x), rtol=1e-4, atol=1e-4)


def test_narrow_choices_are_filled_up_with_zeros() -> None:
    of = conversion(None, stage={"conv": ["vanilla"], "width": [0.5, 1.0]})
    models = of.model_space().eval()
    x = models.stem(torch.randn(2, 1, 8, 8))
    narrow, full = models.stages[0]
    assert narrow(x).shape == full(x).shape == (2, 64, 8, 8)
    assert not narrow(x)[:, 32:].any()
    assert narrow(x)[:, :32].any()
