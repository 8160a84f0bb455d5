"""Equal keys, equal networks: found out by building both spellings with the same weights."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from convnas import Architecture, Choice, SearchSpace
from convnas.search_space.backbones import BACKBONES, get_backbone
from convnas.search_space.choice import StageChoice
from convnas.search_space.layers.base import NotBuildable
from convnas.search_space.layers.registry import operators_of
from convnas.search_space.network.stages import plan_head, plan_stage, plan_stem

Stages = tuple[StageChoice, ...]
SMALL = ("resnet-cifar", "resnet20", "vgg16-cifar", "mobilenet-v1-0.25")
"""Built at their own depths and widths; the others with one thin block a stage."""

NUMBERS: dict[str, list[Any]] = {
    "alpha": [0.25, 0.26, 0.5, 0.51, 1.0],
    "p": [1, 2, 4],
    "scales": [1, 2, 4],
    "base_width": [None, 64, 32, 27, 26, 16],
}
OWN = {"octave": ("alpha",), "hetconv": ("p",), "res2net": ("scales", "base_width")}


def drawn(rng: np.random.Generator, backbone: str, **common: Any) -> Choice:
    conv = str(rng.choice(operators_of(get_backbone(backbone))))
    own = {name: NUMBERS[name][rng.integers(len(NUMBERS[name]))] for name in OWN.get(conv, ())}
    return Choice(conv, **own, kernel=[None, 3, 5][rng.integers(3)], **common)


def drawn_stage(rng: np.random.Generator, backbone: str, index: int, blocks: bool) -> StageChoice:
    own = get_backbone(backbone).stages[index].depth
    width = [None, 1, 0.5][rng.integers(3)] if backbone in SMALL else 0.25
    depth = int(rng.choice([1, 2, own] if backbone in SMALL else [1]))
    if blocks:
        return tuple(drawn(rng, backbone, width=width) for _ in range(depth))
    return drawn(rng, backbone, width=width, depth=None if depth == own else depth)


def respelled(rng: np.random.Generator, backbone: str, index: int, stage: StageChoice) -> Any:
    """The same with other numbers, or the same in other words."""
    if isinstance(stage, tuple):
        i = int(rng.integers(len(stage)))
        other = respelled(rng, backbone, index, stage[i].replaced(depth=None))
        other = other if isinstance(other, Choice) else stage[i]
        return (*stage[:i], other.replaced(depth=None), *stage[i + 1 :])
    own = get_backbone(backbone).stages[index].depth
    depth = stage.depth or own
    other = drawn(rng, backbone, width=stage.width, depth=stage.depth)
    return [
        stage.replaced(depth=depth),
        stage.replaced(width=stage.width or 1.0, kernel=stage.kernel or 3),
        (stage.replaced(depth=None),) * depth,
        other.replaced(kernel=stage.kernel),
        Choice("vanilla", kernel=stage.kernel, width=stage.width, depth=stage.depth),
    ][rng.integers(5)]


def built(backbone: str, shape: tuple[int, int, int], stages: Stages) -> nn.Module:
    """What the stages spell, planned without making an architecture of them."""
    skeleton = get_backbone(backbone)
    stem, signal = plan_stem(skeleton, shape)
    layers = [stem.build()] if stem else []
    for index, stage in enumerate(stages):
        blocks = plan_stage(skeleton, index, signal, stage)
        layers += [block.build() for block in blocks]
        signal = blocks[-1].out
    return nn.Sequential(*layers, plan_head(skeleton, signal, 10).build()).eval()


@torch.no_grad()
def equal_networks(one: nn.Module, other: nn.Module, images: torch.Tensor) -> bool:
    mine, its = one.state_dict(), other.state_dict()
    if [tensor.shape for tensor in mine.values()] != [tensor.shape for tensor in its.values()]:
        return False
    for name, tensor in mine.items():
        if tensor.is_floating_point():
            tensor.add_(torch.rand_like(tensor) * (1 if name.endswith("running_var") else 0.1))
    other.load_state_dict(dict(zip(its, mine.values(), strict=True)))
    # In float64, since deep networks hardly show what one layer of them does otherwise.
    expected, found = one.double()(images), other.double()(images)
    return bool((found - expected).abs().max() < 1e-11 * expected.abs().max())


@pytest.mark.parametrize("blocks", [False, True], ids=["stages", "blocks"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_equal_keys_if_and_only_if_equal_networks(backbone: str, blocks: bool) -> None:
    rng = np.random.default_rng([BACKBONES[backbone].classes, len(backbone), blocks])
    torch.manual_seed(0)
    shape = (3, 32, 32)
    images = torch.randn(2, *shape, dtype=torch.float64)
    compared = {True: 0, False: 0}
    while min(compared.values()) < (4 if backbone in SMALL else 1):
        n = len(get_backbone(backbone).stages)
        stages = tuple(drawn_stage(rng, backbone, i, blocks) for i in range(n))
        i = int(rng.integers(n))
        others = (*stages[:i], respelled(rng, backbone, i, stages[i]), *stages[i + 1 :])
        try:
            one, other = built(backbone, shape, stages), built(backbone, shape, others)
        except NotBuildable:
            continue
        keys = [Architecture(backbone, shape, 10, each).key for each in (stages, others)]
        same = equal_networks(one, other, images)
        assert (keys[0] == keys[1]) == same, (stages, others)
        compared[same] += 1


@pytest.mark.parametrize(
    ("spelled", "form"),
    [
        ("hetconv(p=1)", "vanilla"),
        ("res2net(scales=1)", "vanilla"),
        ("vanilla(kernel=3)", "vanilla"),
        ("vanilla(width=1.0)", "vanilla"),
        ("vanilla(depth=1)", "vanilla"),
        ("[vanilla, vanilla]", "vanilla(depth=2)"),
        ("[hetconv(p=1), octave(alpha=0.5)]", "[vanilla, octave(alpha=0.5)]"),
        ("res2net(scales=4, base_width=16)", "res2net(scales=4)"),  # 4 scales of 4 are 16 planes
        ("res2net(scales=4, base_width=27)", "res2net(scales=4, base_width=24)"),  # 6 of 16 planes
        ("octave(alpha=0.27)", "octave(alpha=0.27)"),  # 4 of 16, and 17 of 64: not 0.25
        ("octave(alpha=0.251)", "octave(alpha=0.25)"),  # 4 of 16, 16 of 64
        ("octave(alpha=0.3)", "octave(alpha=0.3)"),  # 4 of 16, 19 of 64
    ],
)
def test_one_form_of_what_builds_the_same(spelled: str, form: str) -> None:
    found = Architecture.parse(f"resnet-cifar 1x8x8 10: {spelled} | vanilla | vanilla")
    assert str(found) == f"resnet-cifar 1x8x8 10: {form} | vanilla | vanilla"
    assert Architecture.parse(str(found)) == found


def test_an_operator_that_is_not_reached_is_vanilla() -> None:
    head = "vgg16-cifar 3x32x32 10: "
    tail = " | vanilla | vanilla | vanilla"
    # The network's first convolution is vanilla whatever is chosen.
    first = Architecture.parse(f"{head}hetconv(p=4, kernel=5, depth=1) | vanilla{tail}")
    assert str(first) == f"{head}vanilla(depth=1) | vanilla{tail}"
    # After an octave block, an octave convolution joins the frequencies, whatever p.
    joined = Architecture.parse(f"{head}vanilla | [octave(alpha=0.5), hetconv(p=2)]{tail}")
    assert str(joined) == f"{head}vanilla | [octave(alpha=0.5), vanilla]{tail}"
    # The last stage strides from 2x2 to one pixel, of which there is no half resolution.
    pixel = Architecture.parse("resnet20 3x4x4 10: vanilla | vanilla | octave(alpha=1.0)")
    assert str(pixel) == "resnet20 3x4x4 10: vanilla | vanilla | vanilla"


SPACE = {"backbone": "resnet-cifar", "input": [1, 8, 8], "classes": 10}


@pytest.mark.parametrize("granularity", ["stage", "block"])
def test_a_space_counts_each_network_once_and_says_so(granularity: str) -> None:
    listed = {"conv": ["vanilla", "hetconv"], "p": [1, 2]}
    space = SearchSpace.from_config({**SPACE, "granularity": granularity, "stage": listed})
    feasible = space.within(None)
    assert space.size == feasible.count == 8  # two networks a stage
    assert space.spellings == 27
    assert len({arch.key for arch in feasible}) == 8
    assert space.merged == ["hetconv(p=1) is vanilla"]
    for indices in feasible.indices_in_order():
        assert feasible.indices(feasible.point(indices)) == indices
    rng = np.random.default_rng(0)
    assert {arch.key for arch in feasible.sample(rng, 200)} == {arch.key for arch in feasible}
    # What an old study has tried is read as the network that it was.
    old = dict.fromkeys(feasible.distributions, "hetconv(p=1)")
    assert feasible.from_params(old) == feasible.from_params(dict.fromkeys(old, "vanilla"))


@pytest.mark.parametrize("granularity", ["stage", "block"])
@pytest.mark.parametrize(
    ("backbone", "listed"),
    [
        ("resnet-cifar", {"depth": [1, 2], "width": [0.5, 1], "kernel": [3, 5]}),
        ("resnet-cifar", {"conv": ["res2net"], "scales": [1, 4], "base_width": [16, 26, 27]}),
        ("vgg16-cifar", {"conv": ["octave", "hetconv"], "alpha": [0.5], "p": [2, 4], "depth": [1]}),
        ("mobilenet-v1-0.25", {"conv": ["octave"], "alpha": [0.25, 0.251, 0.5], "depth": [1]}),
    ],
)
def test_a_space_is_as_large_as_the_set_of_its_networks(
    granularity: str, backbone: str, listed: dict[str, Any]
) -> None:
    stage = {"conv": ["vanilla"], **listed}
    n = len(get_backbone(backbone).stages)
    plain = {"conv": ["vanilla"], "depth": [1]}
    stages = [stage, stage, *[plain] * (n - 2)]
    mapping = {"backbone": backbone, "input": [3, 32, 32], "classes": 10, "stages": stages}
    space = SearchSpace.from_config({**mapping, "granularity": granularity})
    found = list(space.within(None))
    assert len({arch.key for arch in found}) == len(found) == space.size
    # By brute force: every spelling, each network once.
    keys = set()
    for chosen in itertools.product(*[options for _, options in space.choices]):
        if granularity == "block" and any(option is None for option in chosen):
            return  # absent blocks are counted in test_space.py
        try:
            arch = space._decode(
                tuple(o.index(c) for (_, o), c in zip(space.choices, chosen, strict=True))
            )
            from convnas import cost

            cost(arch)
        except ValueError:
            continue
        keys.add(arch.key)
    assert keys == {arch.key for arch in found}
