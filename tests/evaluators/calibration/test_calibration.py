"""What a few images say of a network: errors layer by layer, statistics, and the images."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from convnas.evaluators.calibration.batch_norm import reestimate
from convnas.evaluators.calibration.images import take_images
from convnas.evaluators.calibration.layer_errors import carried_layers, layer_errors
from convnas.search_space import Choice, InputError
from convnas.search_space.traced.options import VANILLA
from convnas.search_space.traced.space import TracedSpace


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(8, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
    )


IMAGES = torch.randn(12, 4, 8, 8, generator=torch.Generator().manual_seed(3))


def test_an_error_is_the_mean_square_over_the_variance() -> None:
    net = network()
    space = TracedSpace(net, IMAGES[:1])
    errors = layer_errors(net, space.open, IMAGES, fit=False)
    het = Choice("hetconv", p=2)
    made = carried_layers(net, space.open, {"0": het}, None)["0"]
    with torch.no_grad():
        wanted = net[0](IMAGES)
        wrong = (made(IMAGES) - wanted).square().mean()
        # Each channel's variance around its own mean, over all images and pixels.
        variance = wanted.var((0, 2, 3), correction=0).mean()
    assert errors["0"][het] == pytest.approx(float(wrong / variance), rel=1e-4)
    assert errors["4"][VANILLA] == 0
    assert net.training


def test_statistics_are_estimated_anew_behind_what_changed_alone() -> None:
    net = network()
    net[4] = nn.Conv2d(8, 8, 1, bias=False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert reestimate(net, [IMAGES], ["4"]) == ["5"]
    with torch.no_grad():
        net.eval()
        seen = net[:5](IMAGES)
    torch.testing.assert_close(net[5].running_mean, seen.mean((0, 2, 3)))
    torch.testing.assert_close(net[5].running_var, seen.var((0, 2, 3)))
    assert net[5].momentum == 0.1
    after = net.state_dict()
    assert [n for n in before if not torch.equal(before[n], after[n])] == [
        "5.running_mean",
        "5.running_var",
        "5.num_batches_tracked",
    ]


@pytest.mark.parametrize(
    "data",
    [
        IMAGES,
        [IMAGES[:5], IMAGES[5:]],
        TensorDataset(IMAGES, torch.zeros(12)),
        DataLoader(TensorDataset(IMAGES, torch.zeros(12)), batch_size=5),
        list(IMAGES),
    ],
)
def test_images_come_from_whatever_holds_some(data) -> None:
    assert torch.equal(take_images(data, IMAGES[:1], 7), IMAGES[:7])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (torch.zeros(3, 4, 9, 9), r"\[4, 9, 9\] is not allowed; images of shape \[4, 8, 8\]"),
        ([], "at least one"),
        (["a"], "'str'"),
        (3, "'int'"),
    ],
)
def test_what_holds_none_is_refused(data, message) -> None:
    with pytest.raises(InputError, match=message):
        take_images(data, IMAGES[:1], 7)
