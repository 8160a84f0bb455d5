"""Latency as a cost: sums over the pieces of each network, worked out network by network."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import torch

from convnas.search_space import Budget, InputError, SearchSpace, build_network
from convnas.search_space.budget import format_time, parse_time
from convnas.search_space.chain.parts import parts_of
from convnas.search_space.feasible.limits import InfeasibleBudget

STAGE = {
    "conv": ["vanilla", "octave", "hetconv", "res2net"],
    "alpha": [0.5],
    "p": [2],
    "scales": [4],
}
SPACES: dict[str, dict[str, Any]] = {
    "stage": {"stage": {**STAGE, "depth": [1, 2]}},
    "width": {"stage": {**STAGE, "width": [0.5, 1]}},
    "block": {
        "granularity": "block",
        "stage": {"conv": ["vanilla", "octave"], "alpha": [0.5], "depth": [1, 2]},
    },
    "vgg": {
        "backbone": "vgg16-cifar",
        "stages": [{"conv": ["vanilla", "octave"], "alpha": [0.5]}, *[{"conv": ["vanilla"]}] * 4],
        "input": [3, 32, 32],
    },
}


def space_of(name):
    base = {"backbone": "resnet-cifar", "input": [1, 8, 8], "classes": 10}
    return SearchSpace.from_config({**base, **SPACES[name]})


def times_of(space):
    """A made-up time for each piece, from its key alone."""
    return {
        part.key: 1000 + int(hashlib.md5(part.key.encode()).hexdigest()[:4], 16)
        for part in space.parts().all()
    }


@pytest.mark.parametrize("name", SPACES)
def test_the_pieces_of_a_space_are_those_of_its_networks(name):
    space = space_of(name)
    keys = {part.key for part in space.parts().all()}
    seen = set()
    for arch in space.within(None):
        blocks = [block for part in space.parts_of(arch) for block in part.blocks]
        whole = [block for part in parts_of(arch) if part for block in part.blocks]
        assert blocks == whole
        seen |= {part.key for part in space.parts_of(arch)}
    assert seen == keys


@pytest.mark.parametrize("name", SPACES)
def test_the_pieces_run_one_after_another_are_the_network(name):
    space = space_of(name)
    arch = space.within(None).dearest()
    torch.manual_seed(0)
    net = build_network(arch).eval()
    weights = iter(net.state_dict().values())
    x: Any = torch.randn(2, *arch.input)
    expected = net(x)
    for part in space.parts_of(arch):
        piece = part.build().eval()
        piece.load_state_dict({key: next(weights) for key in piece.state_dict()})
        shapes = [tuple(t.shape) for t in (x if isinstance(x, tuple) else (x,))]
        assert shapes == part.input_shapes(2)
        x = piece(x)
    torch.testing.assert_close(x, expected)


@pytest.mark.parametrize("name", SPACES)
def test_a_budget_of_latency_keeps_exactly_the_networks_whose_pieces_add_up_to_less(name):
    space = space_of(name)
    times = times_of(space)
    timed = space.timed(times)
    total = {
        arch: sum(times[part.key] for part in space.parts_of(arch)) for arch in space.within(None)
    }
    limit = sorted(total.values())[len(total) // 3]
    inside = timed.within(Budget(latency=f"{limit}ns"))
    assert set(inside) == {arch for arch, time in total.items() if time <= limit}
    assert inside.count == sum(time <= limit for time in total.values())
    for arch in list(inside)[:5]:
        assert timed.within(None).describe(arch)["latency_ms"] == total[arch] / 1e6


def test_latency_is_limited_together_with_flops():
    space = space_of("stage")
    times = times_of(space)
    both = space.timed(times).within(Budget(flops="900K", latency="150us"))
    flops = set(space.within(Budget(flops="900K")))
    latency = set(space.timed(times).within(Budget(latency="150us")))
    assert set(both) == flops & latency
    assert 0 < both.count < min(len(flops), len(latency))


def test_without_a_table_a_limit_on_latency_is_refused_and_with_half_a_table_too():
    space = space_of("stage")
    with pytest.raises(InputError, match=r"budget\.latency: .*measured, not counted"):
        space.within(Budget(latency="5ms"))
    times = times_of(space)
    times.popitem()
    with pytest.raises(InputError, match="holds no time for a part of this space"):
        space.timed(times)


def test_a_limit_that_nothing_meets_names_the_nearest_in_units():
    space = space_of("stage")
    times = times_of(space)
    fastest = min(
        sum(times[part.key] for part in space.parts_of(arch)) for arch in space.within(None)
    )
    with pytest.raises(InfeasibleBudget, match=r"budget\.latency: '3us' .* has is ") as caught:
        space.timed(times).within(Budget(latency="3us"))
    assert caught.value.nearest == fastest
    assert format_time(fastest) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("5ms", 5_000_000), ("0.8 us", 800), ("2s", 2 * 10**9), ("40ns", 40), (".5ms", 500_000)],
)
def test_times_are_read_with_their_units(text, nanoseconds):
    assert parse_time(text) == nanoseconds
    assert parse_time(format_time(nanoseconds)) == nanoseconds


@pytest.mark.parametrize("value", ["5", 5, "5m", "fast", "-1ms", "0ms", None, "1 0ms"])
def test_other_times_are_refused(value):
    with pytest.raises(InputError, match="a time with its unit, like 5ms"):
        parse_time(value, "budget.latency")


def test_a_budget_of_latency_survives_the_config():
    budget = Budget(flops="1M", latency=("1ms", "2.5ms"))
    assert Budget.from_config(budget.to_config()) == budget
    assert budget.limits["latency"] == (1_000_000, 2_500_000)
