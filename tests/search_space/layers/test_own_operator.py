"""An operator that somebody registers, the examples' ghost convolution, is one like the others."""

from __future__ import annotations

import importlib.util
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import convnas
from convnas import Architecture, Choice, InputError, SearchSpace, build_network, cost
from convnas.experiments.export.python_module import module_source
from convnas.experiments.report.page import page
from convnas.search_space import Parameter, Site, fold_batch_norm, register_operator
from convnas.search_space.layers.base import Layer
from convnas.search_space.layers.registry import OPERATORS

FILE = Path(convnas.__file__).parent / "examples" / "parts" / "ghost.py"


@pytest.fixture(autouse=True)
def ghost() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("ghost_example", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        # Dataclasses look their module up; what it registers is taken back afterwards.
        patch.setitem(__import__("sys").modules, "ghost_example", module)
        spec.loader.exec_module(module)
        yield module
    del OPERATORS["ghost"]


def architecture(backbone: str, *stages: dict[str, Any], size: int = 8) -> Architecture:
    return Architecture.from_dict(
        {"backbone": backbone, "input": [3, size, size], "classes": 10, "stages": list(stages)}
    )


GHOST = {"conv": "ghost", "ratio": 2}
OCTAVE = {"conv": "octave", "alpha": 0.5}


@pytest.mark.parametrize(
    "arch",
    [
        lambda: architecture(
            "resnet-cifar", GHOST, {"conv": "ghost", "ratio": 4}, {"conv": "vanilla"}
        ),
        lambda: architecture("resnet20", GHOST, GHOST, {"conv": "ghost", "ratio": 4, "kernel": 5}),
        lambda: architecture("resnet20", OCTAVE, GHOST, OCTAVE),
        lambda: architecture("vgg16-cifar", *[GHOST] * 5, size=32),
    ],
)
def test_its_cost_is_that_of_its_network(arch: Any) -> None:
    arch = arch()
    network = build_network(arch).eval()
    counted = cost(arch)
    assert counted.params == sum(p.numel() for p in network.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        logits = network(torch.randn(1, *arch.input))
    assert logits.shape == (1, 10)
    # torch counts two for a multiply-add.
    assert counter.get_total_flops() == 2 * counted.flops


def test_it_learns_and_folds() -> None:
    arch = architecture("resnet-cifar", GHOST, GHOST, GHOST)
    network = build_network(arch)
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    network(images).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    with torch.no_grad():
        expected = network.eval()(images)
        folded = fold_batch_norm(network)(images)
    torch.testing.assert_close(folded, expected, rtol=1e-4, atol=1e-4)


def test_a_space_chooses_it_with_its_number() -> None:
    space = {
        "backbone": "resnet-cifar",
        "input": [1, 8, 8],
        "classes": 10,
        "stage": {"conv": ["vanilla", "ghost"], "ratio": [2, 4]},
    }
    found = SearchSpace.from_config(space)
    assert found.size == 3**3
    assert found.notes == []
    for arch in found.within(None):
        assert Architecture.parse(str(arch)) == arch
        assert Architecture.from_dict(arch.to_dict()) == arch


def test_what_it_cannot_do_is_left_out_with_a_note_and_refused_in_a_file() -> None:
    space = {
        "backbone": "resnext50-32x4d",
        "input": [3, 64, 64],
        "classes": 10,
        "stage": {"conv": ["vanilla", "ghost"], "ratio": [2]},
    }
    found = SearchSpace.from_config(space)
    assert found.size == 1
    assert any("ghost does not go where" in note for note in found.notes)
    odd = architecture("resnet-cifar", {"conv": "ghost", "ratio": 5}, GHOST, GHOST)
    with pytest.raises(InputError, match=r"ratio=5 must divide 16 channels"):
        build_network(odd)


def test_its_number_is_its_own() -> None:
    assert str(Choice("ghost", ratio=4)) == "ghost(ratio=4)"
    with pytest.raises(InputError, match="ghost needs ratio: a whole number from 2 to 64"):
        Choice("ghost")
    with pytest.raises(InputError, match="ratio: 1 is not allowed; it must be a whole number from"):
        Choice("ghost", ratio=1)
    with pytest.raises(InputError, match="scales belongs to res2net, not ghost"):
        Choice("ghost", ratio=2, scales=2)
    with pytest.raises(InputError, match="ratio belongs to ghost, not vanilla"):
        Choice("vanilla", ratio=2)


def spatial(site: Site) -> Layer:
    return OPERATORS["vanilla"].spatial(site)


@pytest.mark.parametrize(
    ("name", "number", "says"),
    [
        ("hetconv", None, "a name that is not taken"),
        ("ghost", "p", "a name that is not taken"),
        ("Ghost Conv", None, "small letters"),
        ("mine", "alpha", "it must be p, scales or None"),
        ("mine", Parameter("p", most=4), "another operator has a number of this name"),
        ("mine", Parameter("depth", most=4), "another operator has a number of this name"),
        ("mine", Parameter("conv"), "it must be a name like scales"),
    ],
)
def test_names_and_numbers_that_cannot_be_are_refused(
    name: str, number: str | Parameter | None, says: str
) -> None:
    before = dict(OPERATORS)
    with pytest.raises(InputError, match=says):
        register_operator(name, spatial, number=number)
    assert before == OPERATORS


def test_the_short_form_shares_a_number_or_brings_one() -> None:
    try:
        register_operator("one", spatial, number="p")
        register_operator("two", spatial, number=Parameter("groups_of", most=8), grouped=True)
        assert str(Choice.parse("one(p=4)")) == "one(p=4)"
        assert Choice("two", groups_of=8).groups_of == 8
        with pytest.raises(InputError, match="groups_of: 9"):
            Choice("two", groups_of=9)
        assert cost(architecture("resnext50-32x4d", *[{"conv": "two", "groups_of": 2}] * 4))
    finally:
        del OPERATORS["one"], OPERATORS["two"]


def trained() -> tuple[Architecture, torch.nn.Module]:
    """A network whose norms have something to fold."""
    torch.manual_seed(0)
    arch = architecture("resnet-cifar", GHOST, {"conv": "ghost", "ratio": 4}, GHOST)
    network = build_network(arch)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, -1, 2)  # a norm's scale may be negative
            torch.nn.init.uniform_(module.bias, -1, 1)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return arch, network.eval()


@torch.no_grad()
def test_every_norm_behind_it_is_folded() -> None:
    _, network = trained()
    folded = fold_batch_norm(network)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    images = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(folded(images), network(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("folds", [False, True], ids=["as it is", "folded"])
@torch.no_grad()
def test_a_module_of_its_own_carries_it(folds: bool) -> None:
    arch, network = trained()
    network = fold_batch_norm(network) if folds else network
    source = module_source(network, arch, {}, timm_name=None)
    assert "convnas.search_space" not in source
    assert "absorb_norm" not in source
    module = types.ModuleType("exported")
    exec(compile(source, "exported.py", "exec"), vars(module))  # noqa: S102
    alone = module.Network()
    alone.load_state_dict(network.state_dict())
    images = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(alone.eval()(images), network(images))


def test_a_layer_that_has_no_standalone_form_says_what_carries_it(ghost: Any) -> None:
    arch = architecture("resnet-cifar", GHOST, GHOST, GHOST)
    network = build_network(arch)
    del ghost.GhostConv2d.standalone
    with pytest.raises(InputError, match=r"no standalone form of GhostConv2d .* pt2 and onnx"):
        module_source(network, arch, {}, timm_name=None)


def test_its_boxes_in_a_report_have_its_colours() -> None:
    style = page("title", [])
    assert "--ghost:#e9d5ff" in style
    assert "--ghost:#4a2a6b" in style
    assert ".box.ghost{background:var(--ghost)}" in style


def test_what_its_backward_pass_keeps_is_counted() -> None:
    """Its input is counted with what gives it; inside, the own channels, float32."""
    (plain, ghost) = (
        cost(architecture("vgg16-cifar", *[{"conv": "vanilla"}] * 4, last, size=32))
        for last in ({"conv": "vanilla"}, GHOST)
    )
    # Three convolutions of 512 channels on 2x2 maps, half of the channels own.
    assert ghost.backward_bytes - plain.backward_bytes == 3 * 4 * 256 * 2 * 2
