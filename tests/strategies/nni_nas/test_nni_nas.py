"""A search space as NNI's model space: the same choices, the same networks, the budget kept."""

from __future__ import annotations

import itertools
import sys
from typing import Any

import nni
import numpy as np
import pytest
import torch

from convnas import Architecture, Budget, InputError, SearchSpace, cost
from convnas.strategies.nni_nas.conversion import Conversion
from convnas.strategies.nni_nas.loading import load_nni_nas

load_nni_nas()
from nni.mutable import SampleValidationError
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace, SimplifiedModelSpace
from nni.nas.strategy import GridSearch, Random, RegularizedEvolution
from nni.nas.strategy.middleware import Chain, Deduplication, Filter

STAGE = {
    "conv": ["vanilla", "octave", "hetconv", "res2net"],
    "alpha": [0.25, 0.5],
    "p": [2, 4],
    "scales": [2, 4],
    "depth": [1, 2],
}


def space(granularity: str = "stage", backbone: str = "resnet-cifar", **stage: Any) -> SearchSpace:
    listed = {"stage": {**STAGE, **stage}} if "stages" not in stage else stage
    return SearchSpace.from_config(
        {
            "backbone": backbone,
            "input": [1, 8, 8],
            "classes": 10,
            "granularity": granularity,
            **listed,
        }
    )


SPACES = {
    "stage": space(),
    "block": space("block"),
    "widths": space(width=[0.5, 1.0], conv=["vanilla", "octave"]),
    "basic": space(backbone="resnet20", conv=["vanilla", "octave", "hetconv"], depth=[1, 3]),
    "vgg": space("block", backbone="vgg16-cifar", conv=["vanilla", "octave"], depth=[1, 2]),
    "depthwise": space(backbone="mobilenet-v1-0.25", conv=["vanilla", "octave"], depth=[1, 2]),
}


@pytest.fixture(params=SPACES)
def conversion(request: pytest.FixtureRequest) -> Conversion:
    return Conversion(SPACES[request.param])


def some(conversion: Conversion, n: int) -> list[Architecture]:
    return conversion.feasible.sample(np.random.default_rng(0), n)


def test_every_layer_choice_is_a_stage_or_a_block_and_lists_its_choices_in_words() -> None:
    mutables = Conversion(space(depth=[1])).model_space().simplify()
    assert list(mutables) == ["stage1", "stage2", "stage3"]
    for mutable in mutables.values():
        assert mutable.values == [
            "vanilla(depth=1)",
            "octave(alpha=0_25, depth=1)",
            "octave(alpha=0_5, depth=1)",
            "hetconv(p=2, depth=1)",
            "hetconv(p=4, depth=1)",
            "res2net(scales=2, depth=1)",
            "res2net(scales=4, depth=1)",
        ]
    mutables = Conversion(SPACES["block"]).model_space().simplify()
    assert list(mutables) == [f"stage{i}.block{j}" for i in (1, 2, 3) for j in (1, 2)]
    assert ["-" in mutable.values for mutable in mutables.values()] == [False, True] * 3


def test_architectures_become_samples_and_the_same_architectures_again(
    conversion: Conversion,
) -> None:
    models = conversion.model_space()
    for architecture in some(conversion, 20):
        sample = conversion.sample(architecture)
        assert models.contains(sample)
        assert conversion.architecture(sample) == architecture
        assert conversion.inside(sample)


def test_samples_of_nni_become_all_architectures_of_a_small_space() -> None:
    small = Conversion(space("block", backbone="vgg16-cifar", conv=["vanilla"], depth=[1, 2]))
    models = small.model_space()
    found, misfits = set(), 0
    labels = models.simplify()
    for names in itertools.product(*(mutable.values for mutable in labels.values())):
        sample = dict(zip(labels, names, strict=True))
        try:
            found.add(small.architecture(sample))
        except ValueError:
            misfits += 1
            assert not small.inside(sample)
    assert found == set(small.feasible)
    assert misfits == 0  # every depth from 1 to 2 is listed


def test_blocks_that_do_not_fit_together_are_refused() -> None:
    gaps = Conversion(space("block", backbone="resnet20", conv=["vanilla"], depth=[1, 3]))
    sample = {f"stage{i}.block{j}": "vanilla" for i in (1, 2, 3) for j in (1, 2, 3)}
    for absent in (["stage1.block3"], ["stage2.block2"]):  # two blocks; a gap
        broken = {**sample, **dict.fromkeys(absent, "-")}
        assert not gaps.inside(broken)
        with pytest.raises(ValueError, match="does not fit together"):
            gaps.architecture(broken)
        with pytest.raises(SampleValidationError):
            gaps.model_space().freeze(broken)


def test_wrong_samples_are_named() -> None:
    conversion = Conversion(SPACES["stage"])
    good = conversion.sample(some(conversion, 1)[0])
    for wrong in ({**good, "stage2": "octave"}, {"stage1": good["stage1"]}):
        with pytest.raises(ValueError, match=r"stage2: .* is none of vanilla\(depth=1\), "):
            conversion.architecture(wrong)
        assert not conversion.inside(wrong)


@pytest.mark.parametrize("form", [RawFormatModelSpace, SimplifiedModelSpace])
def test_a_frozen_model_is_the_network_of_its_architecture(
    conversion: Conversion, form: Any
) -> None:
    models = form.from_model(conversion.model_space())
    for architecture in some(conversion, 3):
        model = models.freeze(conversion.sample(architecture))
        network = model.executable_model()
        assert sum(p.numel() for p in network.parameters()) == cost(architecture).params
        assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


def test_every_candidate_runs_in_the_models_unfrozen_form(conversion: Conversion) -> None:
    models = conversion.model_space().eval()
    x = models.stem(torch.randn(2, 1, 8, 8))
    for choice in models.stages:
        outs = [candidate(x) for candidate in choice]
        assert len({out.shape for out in outs}) == 1
        x = outs[-1]
    assert models.head(x).shape == (2, 10)


def test_blocks_of_a_supernet_cannot_choose_widths() -> None:
    with pytest.raises(InputError, match=r"width: \[0.5, 1.0\].*granularity: stage"):
        Conversion(space("block", width=[0.5, 1.0])).model_space()


BUDGET = Budget(flops="900K")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Random(seed=0),
        lambda: GridSearch(seed=0),
        lambda: RegularizedEvolution(population_size=4, sample_size=2, mutation_prob=0.5, seed=0),
    ],
)
def test_nnis_own_engine_runs_its_strategies_inside_our_budget(make: Any) -> None:
    conversion = Conversion(space(), BUDGET)
    ran = []

    def evaluate(network: Any) -> None:
        ran.append(network.architecture)
        nni.report_final_result(float(sum(p.numel() for p in network.parameters())))

    # The raw form gives all models of a grid one and the same sample.
    models = SimplifiedModelSpace.from_model(
        conversion.model_space(), FunctionalEvaluator(evaluate)
    )
    strategy = Chain(make(), Filter(conversion.inside, patience=3000), Deduplication("invalid"))
    strategy(models, SequentialExecutionEngine(max_model_count=8))
    assert len(ran) == len(set(ran)) == 8
    assert all(cost(architecture).flops <= 900_000 for architecture in ran)
    best = next(strategy.list_models(limit=1))
    assert conversion.architecture(best.sample) == max(ran, key=lambda a: cost(a).params)


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'convnas\[nas\]'"):
        Conversion(SPACES["stage"])
