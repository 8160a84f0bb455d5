"""Simulated int8 against the closed form and against ONNX Runtime's integer kernels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convnas.evaluators.data.split import Split
from convnas.evaluators.quantised import int8_accuracy


class Last(nn.Module):
    """Keeps what a linear layer gives, for the test to look at."""

    def __init__(self, weight) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2, bias=False)
        self.linear.weight.data = torch.tensor(weight)

    def forward(self, x):
        seen.append(self.linear(x.flatten(1)))
        return seen[-1]


seen: list[torch.Tensor] = []


def split(rows, labels):
    return Split(torch.tensor(rows).view(len(rows), 1, 1, -1), torch.tensor(labels))


def test_weights_and_inputs_are_rounded_to_their_steps() -> None:
    weight = [[1.27, 0.494, -0.006], [2.54, 1.0, 0.013]]
    # The steps are .01 and .02 by row, and of inputs between 0 and 2.55 also .01.
    rounded = torch.tensor([[1.27, 0.49, -0.01], [2.54, 1.0, 0.02]])
    train = split([[0.0, 1.0, 2.55]], [0])
    tested = split([[0.504, 0.506, 3.0], [-1.0, 0.0, 0.0]], [1, 1])
    seen.clear()
    assert int8_accuracy(Last(weight).eval(), train, tested) == 0.5
    given = torch.tensor([[0.50, 0.51, 2.55], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(seen[-1], given @ rounded.T, rtol=1e-5, atol=1e-5)


def test_the_network_stays_as_it_was() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval()
    before = [p.clone() for p in network.parameters()]
    data = split([[0.0, 1.0, 2.0]], [0])
    int8_accuracy(network, data, data)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert not network[1]._forward_pre_hooks


@pytest.mark.parametrize("choice", ["octave", "res2net"])
def test_pairs_and_hierarchies_are_taken(choice) -> None:
    from convnas.search_space import Architecture, Choice, build_network

    own = {"octave": {"alpha": 0.5}, "res2net": {"scales": 4}}[choice]
    arch = Architecture("resnet-cifar", (1, 8, 8), 3, (Choice(choice, **own),) * 3)
    torch.manual_seed(0)
    network = build_network(arch).eval()
    data = Split(torch.randn(40, 1, 8, 8), torch.zeros(40, dtype=torch.int64))
    # Labels as the network itself says: int8 keeps nearly all of them.
    with torch.no_grad():
        data = Split(data.pixels, network(data.pixels).argmax(1))
    assert int8_accuracy(network, data, data) >= 0.9
