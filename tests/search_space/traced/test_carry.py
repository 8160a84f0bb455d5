"""Kernels carried over, against naive loops and closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convnas.search_space import Choice, HetConv2d
from convnas.search_space.traced.carry import carried
from convnas.search_space.traced.inner_octave import InnerOctConv2d
from convnas.search_space.traced.regression import fitted
from convnas.search_space.traced.trace import Call

CALL = Call((8, 8), (8, 8))


def conv(*sizes: int, **more: object) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(*sizes, **more)


def blocky(channels: int) -> torch.Tensor:
    """Maps whose 2x2 squares are of one value, which half resolution leaves as they are."""
    generator = torch.Generator().manual_seed(1)
    small = torch.randn(3, channels, 4, 4, generator=generator)
    return small.repeat_interleave(2, 2).repeat_interleave(2, 3)


@pytest.mark.parametrize("p", [2, 4])
def test_hetconv_keeps_its_kernels_and_the_others_centres(p) -> None:
    dense = conv(8, 12, 3, padding=1)
    made = carried(dense, CALL, Choice("hetconv", p=p))
    expected = torch.zeros_like(dense.weight)
    for n in range(12):
        for i in range(8):
            if (i - n) % p == 0:
                expected[n, i] = dense.weight[n, i]
            else:
                expected[n, i, 1, 1] = dense.weight[n, i, 1, 1]
    assert isinstance(made, HetConv2d)
    assert torch.equal(made.dense_weight(), expected)
    assert torch.equal(made.bias, dense.bias)


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("seen", [False, True])
def test_octave_is_exact_where_half_resolution_loses_nothing(groups, seen) -> None:
    dense, maps = conv(8, 8, 1, groups=groups), blocky(8)
    made = carried(dense, CALL, Choice("octave", alpha=0.5), maps if seen else None)
    with torch.no_grad():
        torch.testing.assert_close(made(maps), dense(maps), atol=1e-5, rtol=1e-5)


def test_the_low_channels_are_those_that_half_resolution_harms_least() -> None:
    dense, maps = conv(8, 8, 1, groups=8), torch.randn(2, 8, 8, 8)
    maps[:, [1, 4]] = blocky(2)[:2]
    made = carried(dense, CALL, Choice("octave", alpha=0.25), maps)
    assert isinstance(made, InnerOctConv2d)
    assert made.source_order.tolist() == [0, 2, 3, 5, 6, 7, 1, 4]
    with torch.no_grad():
        torch.testing.assert_close(made(maps)[:, [1, 4]], dense(maps)[:, [1, 4]])


@pytest.mark.parametrize("choice", [Choice("hetconv", p=2), Choice("octave", alpha=0.5)])
def test_maps_move_the_weights_to_a_smaller_error(choice) -> None:
    dense = conv(8, 8, 3, padding=1)
    # Neighbouring pixels alike, as in real maps: a centre can stand for its surroundings.
    maps = nn.functional.avg_pool2d(torch.randn(8, 8, 12, 12), 5, stride=1)
    held = nn.functional.avg_pool2d(torch.randn(8, 8, 12, 12), 5, stride=1)
    with torch.no_grad():
        wrong = [
            float((carried(dense, CALL, choice, seen)(held) - dense(held)).square().sum())
            for seen in (None, maps)
        ]
    assert wrong[1] < 0.85 * wrong[0]


@pytest.mark.parametrize("pixels", [5, 40])
def test_fitted_is_ridge_regression_around_the_prior(pixels) -> None:
    torch.manual_seed(0)
    x, y, prior = torch.randn(pixels, 12), torch.randn(pixels, 3), torch.randn(3, 12)
    ridge = 0.01 * x.square().sum() / min(pixels, 12)
    # The ridge as 12 more rows that ask for the prior.
    rows = torch.cat([x, ridge.sqrt() * torch.eye(12)]).double()
    wanted = torch.cat([y, ridge.sqrt() * prior.T]).double()
    expected = torch.linalg.lstsq(rows, wanted).solution.T
    torch.testing.assert_close(fitted(prior, x, y), expected.float(), atol=1e-4, rtol=1e-4)
