"""An operator that somebody registers, the examples' ghost convolution, is one like the others."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import convnas
from convnas import Architecture, Choice, InputError, SearchSpace, build_network, cost
from convnas.experiments.export.python_module import module_source
from convnas.search_space import fold_batch_norm, register_operator
from convnas.search_space.architecture import PARAMETER_OF
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
    del OPERATORS["ghost"], PARAMETER_OF["ghost"]


def architecture(backbone: str, *stages: dict[str, Any], size: int = 8) -> Architecture:
    return Architecture.from_dict(
        {"backbone": backbone, "input": [3, size, size], "classes": 10, "stages": list(stages)}
    )


GHOST = {"conv": "ghost", "p": 2}
OCTAVE = {"conv": "octave", "alpha": 0.5}


@pytest.mark.parametrize(
    "arch",
    [
        lambda: architecture("resnet-cifar", GHOST, {"conv": "ghost", "p": 4}, {"conv": "vanilla"}),
        lambda: architecture("resnet20", GHOST, GHOST, {"conv": "ghost", "p": 4, "kernel": 5}),
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
        "stage": {"conv": ["vanilla", "ghost"], "p": [2, 4]},
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
        "stage": {"conv": ["vanilla", "ghost"], "p": [2]},
    }
    found = SearchSpace.from_config(space)
    assert found.size == 1
    assert any("ghost does not go where" in note for note in found.notes)
    odd = architecture("resnet-cifar", {"conv": "ghost", "p": 5}, GHOST, GHOST)
    with pytest.raises(InputError, match=r"p=5 must be 2 or more and divide 16 channels"):
        build_network(odd)


def test_its_number_is_its_own() -> None:
    assert str(Choice("ghost", p=4)) == "ghost(p=4)"
    with pytest.raises(InputError, match="ghost needs p"):
        Choice("ghost")
    with pytest.raises(InputError, match="scales belongs to res2net, not ghost"):
        Choice("ghost", p=2, scales=2)
    with pytest.raises(InputError, match="p belongs to hetconv, not vanilla"):
        Choice("vanilla", p=2)


@pytest.mark.parametrize(
    ("name", "number", "says"),
    [
        ("hetconv", None, "a name that is not taken"),
        ("ghost", "p", "a name that is not taken"),
        ("Ghost Conv", None, "small letters"),
        ("mine", "alpha", "it must be p, scales or None"),
    ],
)
def test_names_and_numbers_that_cannot_be_are_refused(
    name: str, number: str | None, says: str
) -> None:
    before = dict(PARAMETER_OF)
    with pytest.raises(InputError, match=says):
        register_operator(name, lambda site: OPERATORS["vanilla"].spatial(site), number=number)
    assert before == PARAMETER_OF


def test_a_module_of_its_own_cannot_be_written_and_says_what_can() -> None:
    arch = architecture("resnet-cifar", GHOST, GHOST, GHOST)
    with pytest.raises(InputError, match=r"no standalone form of GhostConv2d .* pt2 and onnx"):
        module_source(build_network(arch), arch, {}, timm_name=None)
