"""A network as a module of its own: the same outputs and parameters, without convnas."""

from __future__ import annotations

import types
from pathlib import Path

import pytest
import torch

from convnas.experiments.export.python_module import module_source
from convnas.search_space import Architecture, Choice, build_network, fold_batch_norm

CHOICES = {
    "vanilla": Choice("vanilla"),
    "octave": Choice("octave", alpha=0.5),
    "all octave low": Choice("octave", alpha=1.0),
    "hetconv": Choice("hetconv", p=4),
    "res2net": Choice("res2net", scales=4),
    "res2net of one": Choice("res2net", scales=1),
}

PLACES = {
    # Odd sizes, so that nothing halves evenly.
    "resnet-cifar": ((1, 7, 7), 3),
    "resnet20": ((3, 9, 9), 3),
    "se-resnet18": ((3, 33, 33), 4),
    "vgg16-cifar": ((3, 32, 32), 5),
    "mobilenet-v1-0.25": ((3, 33, 33), 5),
    "resnext29-6x24d": ((3, 9, 9), 3),
}

CASES = [
    *[("resnet-cifar", (name,) * 3) for name in CHOICES],
    ("resnet-cifar", ("hetconv", "octave", "res2net")),
    ("resnet-cifar", ("octave", "vanilla", "all octave low")),
    ("resnet20", ("octave", "octave", "vanilla")),
    ("resnet20", ("hetconv", "vanilla", "octave")),
    ("se-resnet18", ("octave", "hetconv", "vanilla", "octave")),
    ("vgg16-cifar", ("vanilla", "octave", "octave", "hetconv", "hetconv")),
    ("mobilenet-v1-0.25", ("vanilla", "octave", "octave", "octave", "vanilla")),
    ("resnext29-6x24d", ("vanilla", "res2net", "vanilla")),
]


def imported(source: str) -> types.ModuleType:
    module = types.ModuleType("exported")
    exec(compile(source, "exported.py", "exec"), vars(module))  # noqa: S102
    return module


@pytest.mark.parametrize("folds", [False, True], ids=["as it is", "folded"])
@pytest.mark.parametrize(("backbone", "names"), CASES)
@torch.no_grad()
def test_the_same_outputs_from_the_same_weights(backbone, names, folds) -> None:
    shape, _ = PLACES[backbone]
    arch = Architecture(backbone, shape, 10, tuple(CHOICES[name] for name in names))
    torch.manual_seed(0)
    network = build_network(arch)
    for module in network.modules():
        # Norms as after training, so that folding has something to do.
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    network = fold_batch_norm(network) if folds else network.eval()
    source = module_source(network, arch, {}, timm_name=None)
    assert "import convnas" not in source
    assert "from convnas" not in source
    alone = imported(source).Network()
    alone.load_state_dict(network.state_dict())
    for batch in (1, 3):
        images = torch.randn(batch, *shape)
        torch.testing.assert_close(alone.eval()(images), network(images), rtol=1e-4, atol=1e-4)


def test_an_unfolded_module_trains() -> None:
    arch = Architecture(
        "resnet-cifar", (1, 8, 8), 10, tuple(CHOICES[n] for n in ("hetconv", "octave", "res2net"))
    )
    torch.manual_seed(0)
    alone = imported(module_source(build_network(arch), arch, {}, timm_name=None)).Network()
    images, labels = torch.randn(32, 1, 8, 8), torch.arange(32) % 10
    optimiser = torch.optim.AdamW(alone.parameters(), lr=3e-3)
    for _ in range(40):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(alone(images), labels)
        loss.backward()
        optimiser.step()
    # 32 images of noise learned by heart; at chance the loss is log 10 = 2.3.
    assert loss < 0.5


def test_a_module_says_what_it_is_and_copies_only_what_it_needs(tmp_path: Path) -> None:
    arch = Architecture("resnet-cifar", (1, 8, 8), 10, (Choice("vanilla"),) * 3)
    info = {"data": {"mean": [4.9], "std": [6.0]}}
    source = module_source(build_network(arch), arch, info, timm_name=None)
    module = imported(source)
    assert str(arch) in (module.__doc__ or "")
    assert (module.MEAN, module.STD) == ([4.9], [6.0])
    assert not hasattr(module, "HetConv2d")
    assert not hasattr(module, "OctConv2d")
