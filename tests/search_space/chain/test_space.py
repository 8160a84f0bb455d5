from __future__ import annotations

import copy
import itertools
import json
from collections import Counter
from typing import Any

import numpy as np
import pytest
import yaml

import convnas
from convnas import Budget, InputError, SearchSpace

DEMO: dict[str, Any] = {
    "backbone": "resnet-cifar",
    "input": [1, 8, 8],
    "classes": 10,
    "stage": {
        "conv": ["vanilla", "octave", "hetconv", "res2net"],
        "alpha": [0.125, 0.25, 0.5, 0.75],
        "p": [2, 4, 8],
        "scales": [2, 4, 8],
        "depth": [1, 2],
    },
}


def space(stage: dict[str, Any] | None = None, **changes: Any) -> SearchSpace:
    mapping = {**copy.deepcopy(DEMO), **changes}
    mapping["stage"] = {**mapping["stage"], **(stage or {})}
    return SearchSpace.from_config(mapping)


def test_the_demo_space_counts_its_products() -> None:
    """1 vanilla + 4 alphas + 3 p + 3 scales, times 2 depths, in each of 3 stages."""
    assert space().size == ((1 + 4 + 3 + 3) * 2) ** 3


def test_the_set_inside_a_budget_is_what_cost_says() -> None:
    feasible = space().within(Budget(flops="1M"))
    costs = {}
    for index in np.ndindex(22, 22, 22):
        arch = feasible.point(index)
        costs[arch] = convnas.cost(arch)
    inside = {arch for arch, cost in costs.items() if cost.flops <= 1_000_000}
    assert set(feasible) == inside
    assert feasible.count == len(inside)
    cheapest = min(costs.values(), key=lambda cost: cost.flops).flops
    assert convnas.cost(feasible.cheapest()).flops == cheapest


def test_alpha_and_width_that_arrive_from_the_stage_before_are_costed_exactly() -> None:
    stage = {"conv": ["vanilla", "octave"], "alpha": [0.25, 0.5], "width": [0.5, 1]}
    feasible = space({**stage, "depth": [1]}).within(None)
    indices = feasible.sample_indices(np.random.default_rng(0), 300)
    for row, costs in zip(indices, feasible.costs(indices), strict=True):
        cost = convnas.cost(feasible.point(row))
        assert costs.tolist() == [cost.flops, cost.params, cost.activations]


def test_choices_that_fit_one_stage_only_are_left_out_elsewhere_with_a_note() -> None:
    narrow = space({"p": [2, 64]})
    assert "stage1: hetconv(p=64, depth=1) is left out" in " ".join(narrow.notes)
    labels = narrow.within(None).distributions
    assert "hetconv(p=64)" not in labels["stage1"]
    assert "hetconv(p=64)" in labels["stage3"]


def test_an_operator_that_has_no_place_on_the_backbone_is_left_out_with_one_note() -> None:
    basic = space(backbone="resnet20")
    assert basic.notes == [
        "res2net is left out: res2net needs bottleneck blocks, this backbone has basic ones"
    ]
    assert basic.size == (8 * 2) ** 3


def test_p_must_divide_the_width_that_arrives() -> None:
    """Basic blocks: 12 channels (width .75) arrive at stage 2, so p = 8 cannot follow them."""
    stage = {"conv": ["vanilla", "hetconv"], "p": [8], "width": [0.75, 1], "depth": [1]}
    feasible = space(stage, backbone="resnet20").within(None)
    for arch in feasible:
        convnas.build_network(arch)
    first, second = (
        [choice.conv for choice in stages]
        for stages in zip(*[arch.stages[:2] for arch in feasible], strict=True)
    )
    assert "hetconv" in first
    assert "hetconv" in second


def test_a_rule_excludes() -> None:
    ruled = space(**{"not": [{"stage": 3, "conv": "octave"}, {"scales": [4, 8], "depth": 2}]})
    for arch in ruled.within(None):
        choices = [choice for choice in arch.stages if isinstance(choice, convnas.Choice)]
        assert choices[2].conv != "octave"
        assert not any(c.scales in {4, 8} and c.depth == 2 for c in choices)
    assert ruled.size == (22 - 2) ** 2 * (22 - 8 - 2)


def test_stages_one_by_one() -> None:
    mapping = {key: DEMO[key] for key in ("backbone", "input", "classes")}
    stages = [
        {"conv": "vanilla"},
        {"conv": ["octave"], "alpha": [0.5]},
        {"conv": ["hetconv", "vanilla"], "p": [4]},
    ]
    assert SearchSpace.from_config({"space": {**mapping, "stages": stages}}).size == 2


def test_yaml_and_json_round_trip(tmp_path) -> None:
    original = space(**{"not": [{"stage": 1, "conv": "octave"}]})
    for text in (yaml.safe_dump(original.to_dict()), json.dumps(original.to_dict())):
        path = tmp_path / "space.yaml"
        path.write_text(text)
        again = SearchSpace.from_config(path)
        assert again.to_dict() == original.to_dict()
        assert again.size == original.size


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        ({"alpha": [1.5]}, {}, "space.stage.alpha: 1.5 is not allowed"),
        ({"p": [2, 3]}, {}, "space.stage.p: 3 is not allowed; p must divide both"),
        ({"scales": [3]}, {}, "space.stage.scales: 3 is not allowed; scales must divide"),
        ({"alpha": [0.01]}, {}, "space.stage.alpha: 0.01 is not allowed; alpha 0.01 of"),
        ({"width": [0.3]}, {}, "space.stage.width: 0.3 is not allowed"),
        ({"conv": ["octav"]}, {}, "did you mean 'octave'?"),
        ({"conv": []}, {}, "space.stage.conv: [] is not allowed; give at least one value"),
        ({"depth": [0]}, {}, "space.stage.depth: 0 is not allowed"),
        ({"depth": [1, 1]}, {}, "each value may stand there once"),
        ({"alhpa": [0.5]}, {}, "did you mean 'alpha'?"),
        ({}, {"backbone": "resnet"}, "space.backbone: 'resnet' is not allowed"),
        ({}, {"input": [8, 8]}, "space.input: [8, 8] is not allowed"),
        ({}, {"colour": 1}, "space.colour: this key is not allowed"),
        ({}, {"not": [{"stage": 4}]}, "space.not[1].stage: 4 is not allowed"),
        ({}, {"not": [{"satge": 1}]}, "did you mean 'stage'?"),
        ({}, {"not": [{"stage": 1}]}, "nothing is left to choose for stage1"),
        ({}, {"stages": []}, "give either stage or stages"),
    ],
)
def test_wrong_spaces_name_key_value_and_what_is_allowed(stage, changes, message) -> None:
    with pytest.raises(InputError) as caught:
        space(stage, **changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_operator_without_its_numbers_is_refused() -> None:
    mapping = {**DEMO, "stage": {"conv": ["octave"]}}
    with pytest.raises(InputError, match=r"space\.stage\.alpha: None is not allowed"):
        SearchSpace.from_config(mapping)


def test_a_budget_nothing_meets_names_the_cheapest_architecture_and_its_flops() -> None:
    octave = "octave(alpha=0.75, depth=1)"
    cheapest = convnas.Choice.parse(octave)
    arch = convnas.Architecture("resnet-cifar", (1, 8, 8), 10, (cheapest,) * 3)
    with pytest.raises(InputError) as caught:
        space().within(Budget(flops="10K"))
    assert str(convnas.cost(arch).flops) in str(caught.value)
    assert str(arch) in str(caught.value)


BLOCKS = {"conv": ["vanilla", "octave"], "alpha": [0.5], "depth": [1, 2, 3]}


def by_blocks(stage: dict[str, Any], **changes: Any) -> SearchSpace:
    mapping = {key: DEMO[key] for key in ("backbone", "input", "classes")}
    return SearchSpace.from_config({**mapping, "granularity": "block", "stage": stage, **changes})


def test_every_block_chooses_for_itself() -> None:
    """2 operators a block, 1 to 3 blocks: 2 + 4 + 8 stages, in each of 3."""
    assert by_blocks(BLOCKS).size == (2 + 4 + 8) ** 3


def test_blocks_are_costed_exactly_and_each_point_is_one_architecture() -> None:
    feasible = by_blocks(BLOCKS).within(Budget(flops="1.5M"))
    points = list(feasible)
    assert len(set(points)) == len(points) == feasible.count
    rng = np.random.default_rng(0)
    for i in rng.choice(len(points), 150, replace=False):
        indices = feasible.indices(points[i])
        assert feasible.point(indices) == points[i]
        cost = convnas.cost(points[i])
        assert cost.flops <= 1_500_000
        assert feasible.costs(np.array([indices]))[0].tolist() == [
            cost.flops,
            cost.params,
            cost.activations,
        ]


def test_blocks_inside_a_budget_equal_the_enumeration_of_all() -> None:
    space = by_blocks({"conv": ["vanilla", "hetconv"], "p": [4], "depth": [1, 3]})
    stage = [
        blocks
        for n in (1, 3)
        for blocks in itertools.product(
            [convnas.Choice("vanilla"), convnas.Choice("hetconv", p=4)], repeat=n
        )
    ]
    every = [
        convnas.Architecture("resnet-cifar", (1, 8, 8), 10, stages)
        for stages in itertools.product(stage, repeat=3)
    ]
    inside = {arch for arch in every if convnas.cost(arch).flops <= 2_000_000}
    assert set(space.within(Budget(flops="2M"))) == inside
    assert 0 < len(inside) < len(every) == space.size


def test_the_width_of_a_stage_is_that_of_all_its_blocks() -> None:
    feasible = by_blocks({"conv": ["vanilla"], "width": [0.5, 1], "depth": [2]}).within(None)
    assert feasible.count == 2**3
    for arch in feasible:
        # Equal blocks are one choice of the stage; a width of 1 goes without saying.
        assert all(isinstance(stage, convnas.Choice) for stage in arch.stages)
        assert feasible.params(arch)["stage1.block1.width"] == (arch.stages[0].width or 1)
        indices = np.array([feasible.indices(arch)])
        assert feasible.costs(indices)[0, 0] == convnas.cost(arch).flops


def test_an_absent_block_is_a_dash_in_the_parameters() -> None:
    feasible = by_blocks(BLOCKS).within(None)
    arch = feasible.cheapest()
    params = feasible.params(arch)
    assert [params[f"stage1.block{i}"] for i in (2, 3)] == ["-", "-"]
    assert feasible.from_params(params) == arch


def test_vgg_halves_its_map_where_a_stage_ends_early() -> None:
    stage = {"conv": ["vanilla", "octave"], "alpha": [0.5], "depth": [1, 2]}
    mapping = {"backbone": "vgg16-cifar", "input": [3, 32, 32], "classes": 10}
    blocks = SearchSpace.from_config({**mapping, "granularity": "block", "stage": stage})
    # The very first convolution is vanilla: 1 + 2 choices in stage 1, 2 + 4 in the others.
    assert blocks.size == (1 + 2) * (2 + 4) ** 4
    feasible = blocks.within(None)
    indices = feasible.sample_indices(np.random.default_rng(0), 60)
    for row, costs in zip(indices, feasible.costs(indices), strict=True):
        assert costs[0] == convnas.cost(feasible.point(row)).flops


def test_a_rule_excludes_a_block() -> None:
    rule = [{"stage": 1, "block": 2, "conv": "octave"}]
    ruled = by_blocks(BLOCKS, **{"not": rule})
    assert ruled.size == (2 + 2 + 4) * (2 + 4 + 8) ** 2
    assert SearchSpace.from_config(ruled.to_dict()).size == ruled.size


def test_a_deep_network_by_blocks_is_counted_exactly() -> None:
    """ResNet-50 with each of 16 blocks for itself, beside a count of Python's own whole numbers."""
    space = SearchSpace.from_config(
        {
            "backbone": "resnet50",
            "input": [3, 32, 32],
            "classes": 10,
            "granularity": "block",
            "stage": {"conv": ["vanilla", "octave", "hetconv"], "alpha": [0.25, 0.5], "p": [2, 4]},
        }
    )
    assert space.size == 5**16
    feasible = space.within(Budget(flops="60M"))
    # (state, cost) -> ways, position by position; the pieces' costs are held to `cost` elsewhere.
    ways: Counter[tuple[int, int]] = Counter({(0, 0): 1})
    for position in space.chain.positions:
        arriving, ways = ways, Counter()
        for (state, spent), n in arriving.items():
            for option in np.flatnonzero(position.allowed[state]).tolist():
                added = int(position.cost[0, state, option])
                ways[int(position.state[state, option]), spent + added] += n
    ends = space.chain.final[0]
    count = sum(n for (state, spent), n in ways.items() if spent + int(ends[state]) <= 60_000_000)
    assert 0 < count < space.size
    assert feasible.count == count
    rng = np.random.default_rng(0)
    for arch in feasible.sample(rng, 20):
        assert convnas.cost(arch).flops <= 60_000_000
