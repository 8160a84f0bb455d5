"""Batch normalisation folded for inference: equal outputs, the original untouched, exportable."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import convnas
from convnas import Architecture, Choice, HetConv2d, OctConv2d, Res2NetBottleneck
from convnas.search_space import fold_batch_norm
from convnas.search_space.layers.frequency import FrequencyNorm
from convnas.search_space.layers.modules.hetconv_grouped import GroupedHetConv2d
from convnas.search_space.layers.modules.res2net_conv2d import Res2NetConv2d

CHOICES = [
    Choice("vanilla"),
    Choice("octave", alpha=0.5),
    Choice("octave", alpha=1),
    Choice("hetconv", p=4),
    Choice("res2net", scales=4),
]
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def stir(network: nn.Module) -> nn.Module:
    """Norms that do something, in evaluation mode."""
    torch.manual_seed(1)
    for norm in network.modules():
        if isinstance(norm, NORMS):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
    return network.eval()


def assert_folds(network: nn.Module, x) -> nn.Module:
    """Outputs equal to 1e-5 of the largest; no norm left; weights of the original as they were."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        expected = network(x)
        folded = fold_batch_norm(network)
        got = folded(x)
        again = network(x)
    parts = lambda y: y if isinstance(y, tuple) else (y,)
    for mine, theirs, unchanged in zip(parts(got), parts(expected), parts(again), strict=True):
        largest = theirs.abs().max().item() if theirs.numel() else 0.0
        torch.testing.assert_close(mine, theirs, atol=1e-5 * max(1, largest), rtol=0)
        assert torch.equal(unchanged, theirs)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(isinstance(module, NORMS) for module in folded.modules())
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    return folded


@pytest.mark.parametrize("size", [8, 7])
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_every_operator_beside_every_other(choice, size) -> None:
    for neighbour in CHOICES:
        for stages in ((neighbour, choice, neighbour), (choice, choice, neighbour)):
            arch = Architecture("resnet-cifar", (1, size, size), 10, stages)
            network = stir(convnas.build_network(arch))
            assert_folds(network, torch.randn(2, 1, size, size))


@pytest.mark.parametrize(
    ("backbone", "size", "choice"),
    [
        ("resnet20", 8, Choice("hetconv", p=4)),
        ("resnet20", 7, Choice("octave", alpha=0.25)),
        ("vgg16-cifar", 32, Choice("hetconv", p=4)),
        ("vgg16-cifar", 32, Choice("octave", alpha=0.5)),
        ("mobilenet-v1", 32, Choice("octave", alpha=0.5)),
        ("se-resnext50-32x4d", 32, Choice("res2net", scales=4, base_width=4)),
    ],
)
def test_other_blocks_biases_groups_gates_and_heads(backbone, size, choice) -> None:
    skeleton = convnas.search_space.get_backbone(backbone)
    stages = (choice,) * len(skeleton.stages)
    arch = Architecture(backbone, (3, size, size), 10, stages)
    torch.manual_seed(0)
    assert_folds(stir(convnas.build_network(arch)), torch.randn(1, 3, size, size))


PAIR = (torch.randn(2, 4, 6, 6), torch.randn(2, 4, 3, 3))


@pytest.mark.parametrize(
    ("layers", "x"),
    [
        ([HetConv2d(8, 8, bias=True, p=2), nn.BatchNorm2d(8)], torch.randn(2, 8, 5, 5)),
        ([HetConv2d(8, 8, p=2, execution="grouped"), nn.BatchNorm2d(8)], torch.randn(2, 8, 5, 5)),
        (
            [HetConv2d(8, 12, bias=True, p=2, execution="grouped"), nn.BatchNorm2d(12)],
            torch.randn(2, 8, 5, 5),
        ),
        ([OctConv2d(8, 8, 3, padding=1, alpha_in=0.5, alpha_out=0.5), FrequencyNorm(8, 0.5)], PAIR),
        (
            [
                OctConv2d(8, 8, 3, 2, 1, bias=True, alpha_in=0.5, alpha_out=0.5),
                FrequencyNorm(8, 0.5),
            ],
            PAIR,
        ),
        (
            [
                OctConv2d(8, 8, 3, padding=1, groups=2, alpha_in=0.5, alpha_out=0.5),
                FrequencyNorm(8, 0.5),
            ],
            PAIR,
        ),
        ([OctConv2d(8, 8, 1, alpha_in=0.5, alpha_out=1), FrequencyNorm(8, 1)], PAIR),
        ([OctConv2d(8, 8, 1, alpha_in=0.5, alpha_out=0), nn.BatchNorm2d(8)], PAIR),
        (
            [OctConv2d(8, 8, 3, 2, 1, alpha_in=0, alpha_out=0), nn.BatchNorm2d(8, affine=False)],
            torch.randn(2, 8, 5, 5),
        ),
        ([Res2NetBottleneck(16, 4, scales=4)], torch.randn(2, 16, 5, 5)),
        ([Res2NetBottleneck(8, 4, 2, scales=2, se=True)], torch.randn(2, 8, 5, 5)),
    ],
    ids=lambda value: value[0].extra_repr() if isinstance(value, list) else "",
)
def test_drop_in_modules_in_a_row(layers, x) -> None:
    row = nn.Sequential(*layers)
    for norm in row.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    assert_folds(row.eval(), x)


@pytest.mark.parametrize("second", [4, 2])
def test_shuffles_between_neighbours_are_left_out(second) -> None:
    """conv, het, het, conv: four shuffles, of which none is needed if both have one p."""
    row = nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        HetConv2d(8, 8, p=4, execution="grouped"),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        HetConv2d(8, 16, p=second, bias=True, execution="grouped"),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        nn.Conv2d(16, 4, 3),
    )
    folded = assert_folds(stir(row), torch.randn(2, 3, 6, 6))
    hets = [layer for layer in folded.children() if isinstance(layer, GroupedHetConv2d)]
    shuffles = [(het.shuffles_input, het.shuffles_output) for het in hets]
    assert shuffles == ([(False, False)] * 2 if second == 4 else [(False, True), (True, False)])


def test_norms_that_cannot_fold_stay_and_work() -> None:
    """Before a convolution, without running statistics, or after a layer used twice."""
    conv = nn.Conv2d(4, 4, 1)
    row = nn.Sequential(nn.BatchNorm2d(4), conv, nn.BatchNorm2d(4), conv, nn.BatchNorm2d(4))
    stir(row)
    row.append(nn.Conv2d(4, 4, 1)).append(nn.BatchNorm2d(4, track_running_stats=False))
    x = torch.randn(2, 4, 3, 3)
    folded = fold_batch_norm(row.eval())
    torch.testing.assert_close(folded(x), row(x))
    assert [type(layer) for layer in folded] == [type(layer) for layer in row]


def network_of_every_operator() -> nn.Module:
    stages = (CHOICES[1], CHOICES[4], CHOICES[3])
    torch.manual_seed(0)
    return stir(convnas.build_network(Architecture("resnet-cifar", (1, 8, 8), 10, stages)))


def test_a_folded_state_dict_fits_another_folded_network() -> None:
    folded = fold_batch_norm(network_of_every_operator())
    arch = folded.architecture
    other = fold_batch_norm(convnas.build_network(arch))
    other.load_state_dict(folded.state_dict())
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(other(x), folded(x))


def test_the_input_is_not_written_over() -> None:
    """Res2Net works inside what a ReLU gives it, never inside what a caller keeps."""
    block = stir(Res2NetBottleneck(16, 4, scales=4))
    x = torch.randn(1, 16, 5, 5)
    kept = x.clone()
    fold_batch_norm(block)(x)
    hierarchy = stir(Res2NetConv2d(16, 4))
    fold_batch_norm(hierarchy)(x)
    assert torch.equal(x, kept)


def test_gradients_reach_the_input() -> None:
    network = network_of_every_operator()
    x = torch.randn(2, 1, 8, 8)
    grads = []
    for net in (network, fold_batch_norm(network)):
        leaf = x.clone().requires_grad_()
        net(leaf).square().sum().backward()
        grads.append(leaf.grad)
    torch.testing.assert_close(grads[1], grads[0], atol=1e-3, rtol=1e-3)


def test_every_choice_of_two_stages_of_a_wide_network() -> None:
    """Planes of 64 and more, so that HetConv is grouped by the rule."""
    for stages in itertools.product((Choice("hetconv", p=4), Choice("vanilla")), repeat=2):
        arch = Architecture("resnet18", (3, 16, 16), 10, (*stages, *stages[::-1]))
        assert_folds(stir(convnas.build_network(arch)), torch.randn(1, 3, 16, 16))
