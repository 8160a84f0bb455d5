"""Measured times: in proportion to the work, kept for the device, and honest about their error."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from convnas.evaluators.device import resolve_device
from convnas.evaluators.latency import table as latency_table
from convnas.evaluators.latency.measure import (
    LatencySettings,
    Timing,
    network_latency,
    part_latency,
)
from convnas.evaluators.latency.table import LatencyTable, measured_table
from convnas.search_space import Architecture, Choice, InputError, SearchSpace
from convnas.search_space.chain.parts import parts_of

CPU = torch.device("cpu")
QUICK = LatencySettings(samples=5)


def architecture(choice=None, size=8):
    return Architecture("resnet-cifar", (1, size, size), 10, ((choice or Choice("vanilla")),) * 3)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def space():
    stage = {"conv": ["vanilla", "hetconv"], "p": [2, 4]}
    base = {"backbone": "resnet-cifar", "input": [1, 8, 8], "classes": 10}
    return SearchSpace.from_config({**base, "stage": stage})


def networks(space, n=6):
    found = list(space.within(None))[:n]
    return [(arch, [part.key for part in space.parts_of(arch)]) for arch in found]


def test_more_work_takes_more_time():
    small, large = (network_latency(architecture(size=size), QUICK, CPU) for size in (8, 64))
    # 64 times the pixels; a twentieth of that is far beyond any noise.
    assert large.median > 3 * small.median
    assert small.low <= small.median <= small.high


@pytest.mark.parametrize(
    "choice", [Choice("octave", alpha=0.5), Choice("octave", alpha=1), Choice("res2net", scales=4)]
)
@pytest.mark.parametrize("folded", [True, False])
def test_every_piece_runs_alone(choice, folded):
    settings = LatencySettings(samples=3, folded=folded, batch=2)
    for part in parts_of(architecture(choice)):
        assert part is not None
        assert part_latency(part, settings, CPU).median > 0


def test_settings_reach_the_measurement():
    for settings in (
        LatencySettings(samples=3, dtype="bfloat16"),
        LatencySettings(samples=3, channels_last=False),
        LatencySettings(samples=3, threads=2),
    ):
        assert network_latency(architecture(), settings, CPU).median > 0
    assert torch.get_num_threads() == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_gpu_is_waited_for(dtype):
    settings = LatencySettings(device="cuda", dtype=dtype, samples=5, batch=64)
    device = resolve_device("cuda")
    small, large = (network_latency(architecture(size=s), settings, device) for s in (8, 128))
    assert large.median > 2 * small.median


def test_a_table_is_the_pieces_corrected_and_its_error_is_of_other_networks(space, monkeypatch):
    """With clocks that say that a network takes 1.5 times its pieces, but for two."""
    nets = networks(space)
    odd = {nets[1][0].key: 1.2, nets[3][0].key: 1.8}
    work = {part.key: 1000 * (i + 1) for i, part in enumerate(space.parts().all())}

    def part_time(part, settings, device):
        return Timing(work[part.key] + 50, work[part.key], work[part.key] + 90)

    def network_time(arch, settings, device):
        own = sum(work[part.key] for part in space.parts_of(arch))
        time = int(own * odd.get(arch.key, 1.5))
        return Timing(time + 500, time, time + 900)

    monkeypatch.setattr(latency_table, "part_latency", part_time)
    monkeypatch.setattr(latency_table, "network_latency", network_time)
    table = measured_table(space.parts().all(), nets, QUICK)
    assert table.times == {key: round(1.5 * time) for key, time in work.items()}
    # Errors of networks 1, 3 and 5: 1.5/1.2 - 1, 1 - 1.5/1.8, 0.
    assert table.worst == pytest.approx(0.25, abs=1e-3)
    assert table.error == pytest.approx(1 / 6, abs=1e-3)
    assert table.networks == 3
    # The plain sum is 2/3, 5/6 and 5/9 of what was measured.
    assert table.plain_error == pytest.approx(1 / 3, abs=1e-3)


def test_what_was_measured_is_not_measured_again_unless_asked(space, cache):
    parts = list(space.parts().all())
    nets = networks(space)
    told = []
    first = measured_table(parts, nets, QUICK, progress=lambda done, total: told.append(total))
    assert told[-1] == len(parts) + len(nets)
    (file,) = cache.rglob("*.json")
    assert json.loads(file.read_text())["about"]["device"] == "cpu"

    def not_again(done, total):
        raise AssertionError("measured again")

    assert measured_table(parts, nets, QUICK, progress=not_again) == first
    measured_table(parts, nets, QUICK, again=True, progress=lambda done, total: told.append(-1))
    assert told[-1] == -1
    other = LatencySettings(samples=3, batch=2)
    assert measured_table(parts, nets, other).about["batch"] == 2
    assert len(list(cache.rglob("*.json"))) == 2


def test_a_damaged_cache_is_as_good_as_none(space, cache):
    parts = list(space.parts().all())
    measured_table(parts, networks(space), QUICK)
    (file,) = cache.rglob("*.json")
    file.write_text(file.read_text()[:50])
    assert set(measured_table(parts, networks(space), QUICK).times) == {p.key for p in parts}


def test_a_table_is_plain_data_and_nothing_else_passes_for_one(space):
    table = measured_table(list(space.parts().all()), networks(space), QUICK)
    assert LatencyTable.from_dict(json.loads(json.dumps(table.to_dict()))) == table
    mistakes: list[Any] = [None, [], {}, {**table.to_dict(), "times": 3}, {"times": {"a": "b"}}]
    for wrong in mistakes:
        with pytest.raises(InputError, match=r"latency\.measured: .* as convnas latency writes"):
            LatencyTable.from_dict(wrong)
