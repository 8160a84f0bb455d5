"""Measured tables: every shape has an answer, as data, and networks follow it."""

from __future__ import annotations

import torch

from convnas import Architecture, Choice, HetConv2d, build_network
from convnas.search_space import ExecutionTable, default_shapes, shapes_of, tune
from convnas.search_space.layers.hetconv_execution import HetShape

ARCH = Architecture(
    "resnet-cifar",
    (1, 8, 8),
    10,
    (Choice("hetconv", p=4), Choice("vanilla"), Choice("hetconv", p=2)),
)


def test_an_architecture_gives_its_shapes_with_their_sizes() -> None:
    assert shapes_of([ARCH, ARCH]) == [
        (HetShape(16, 16, 3, 1, 4), (8, 8)),
        (HetShape(64, 64, 3, 2, 2), (4, 4)),
    ]


def test_a_table_has_an_answer_for_every_shape_and_is_data() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    table = tune(shapes_of([ARCH]), batch=2, rounds=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert set(table.hetconv) == {str(shape) for shape, _ in shapes_of([ARCH])}
    assert set(table.hetconv.values()) <= {"dense", "grouped"}
    assert ExecutionTable.from_dict(table.to_dict()) == table
    network = build_network(ARCH, execution=table)
    for layer in network.modules():
        if isinstance(layer, HetConv2d):
            assert layer.execution == table.hetconv[str(layer.shape)]


def test_the_clearly_faster_execution_wins() -> None:
    """512 channels with p = 8: grouped multiplies 4.5 times less."""
    shape = HetShape(512, 512, 3, 1, 8)
    table = tune([(shape, (7, 7))], batch=4, rounds=3)
    assert table.hetconv == {str(shape): "grouped"}


def test_the_default_grid_has_each_shape_once() -> None:
    shapes = [shape for shape, _ in default_shapes()]
    assert len(set(shapes)) == len(shapes) == 36
