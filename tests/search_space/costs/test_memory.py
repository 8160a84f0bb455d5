"""Bytes kept for the backward pass, against what autograd really saves."""

from __future__ import annotations

import pytest
import torch

import convnas
from convnas import Architecture, Choice
from convnas.search_space.backbones import BACKBONES

CHOICES = [
    Choice("vanilla", depth=2),
    Choice("octave", alpha=0.25, depth=2),
    Choice("octave", alpha=1, depth=2),
    Choice("hetconv", p=4, depth=2),
    Choice("res2net", scales=1, depth=2),
    Choice("res2net", scales=4, depth=2),
]


def saved_bytes(network: torch.nn.Module, images: torch.Tensor) -> int:
    """Bytes of the storages that a forward pass saves, each once."""
    storages = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        # The tensor is held as well, so that no other can get its storage's address.
        storages[storage._cdata] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(images)
    return sum(size for size, _ in storages.values())


def bytes_an_image(arch: Architecture, device: str) -> int:
    """By how much one more image grows what is saved: so weights and statistics fall out."""
    with torch.device(device):
        network = convnas.build_network(arch).train()
        two, three = (saved_bytes(network, torch.zeros(n, *arch.input)) for n in (2, 3))
    return three - two


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("neighbour", CHOICES[:2], ids=str)
@pytest.mark.parametrize("size", [8, 7])
def test_between_any_neighbours(choice, neighbour, size) -> None:
    arch = Architecture("resnet-cifar", (1, size, size), 10, (neighbour, choice, neighbour))
    assert convnas.cost(arch).backward_bytes == bytes_an_image(arch, "cpu")


@pytest.mark.parametrize(
    ("backbone", "choice"),
    [
        ("resnet50", Choice("vanilla")),
        ("resnet50", Choice("res2net", scales=4, base_width=26)),
        ("resnet34", Choice("octave", alpha=0.5)),
        ("resnet20", Choice("octave", alpha=0.5)),
        ("se-resnext50-32x4d", Choice("octave", alpha=0.25)),
        ("vgg16-cifar", Choice("octave", alpha=0.5)),
        ("mobilenet-v1", Choice("octave", alpha=0.5)),
    ],
)
def test_on_whole_networks(backbone, choice) -> None:
    skeleton = BACKBONES[backbone]
    stages = (choice,) * (len(skeleton.stages) - 1) + (Choice("vanilla"),)
    arch = Architecture(backbone, skeleton.input, skeleton.classes, stages)
    assert convnas.cost(arch).backward_bytes == bytes_an_image(arch, "meta")


def test_one_convolution_stage_by_hand() -> None:
    """VGG's stage 5 vanilla, one convolution on 512x2x2: what it reads and gives, what norm and
    ReLU give (which max pooling reads), and the indices of the 512 maxima."""
    choices = (Choice("vanilla"),) * 4 + (Choice("vanilla", depth=1),)
    cost = convnas.cost(Architecture("vgg16-cifar", (3, 32, 32), 10, choices))
    assert cost.stages[4].backward_bytes == 3 * 512 * 4 * 4 + 8 * 512
