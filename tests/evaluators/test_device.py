from __future__ import annotations

import functools
from contextlib import contextmanager, nullcontext

import pytest
import torch

from convnas.evaluators import resolve_device, seeded, select_device
from convnas.search_space import InputError

CPU = torch.device("cpu")


def test_cpu_is_always_there():
    assert resolve_device("cpu") == CPU


def test_auto_takes_a_gpu_where_there_is_one():
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cpu:0", "", None, 3])
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match=r"device: .* choose from: auto, cpu, cuda, cuda:<index>"):
        resolve_device(name)


def test_an_absent_gpu_is_refused():
    with pytest.raises(InputError, match="device: 'cuda:99' is not allowed; this machine has cpu"):
        resolve_device("cuda:99")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_has_its_index_spelled_out():
    assert resolve_device("cuda") == torch.device("cuda", 0)


def test_seeded_gives_the_seeds_numbers_and_the_old_state_back():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    with seeded(5, CPU):
        inside = torch.rand(1)
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(inside, torch.rand(1, generator=torch.Generator().manual_seed(5)))


def test_the_old_state_comes_back_after_an_error():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    with pytest.raises(KeyError), seeded(5, CPU):
        raise KeyError
    assert torch.equal(torch.rand(1), expected)


class FakeCuda:
    """Stands in for torch.cuda: notes which device was current when something was asked of it."""

    def __init__(self, monkeypatch):
        self.current, self.calls = 0, []
        monkeypatch.setattr(torch.cuda, "device", self.device)
        monkeypatch.setattr(torch.cuda, "set_device", lambda d: setattr(self, "current", d.index))
        monkeypatch.setattr(torch.random, "fork_rng", lambda devices: nullcontext())
        for name in ("manual_seed", "set_per_process_memory_fraction"):
            monkeypatch.setattr(torch.cuda, name, functools.partial(self.note, name))

    def note(self, name, *args):
        self.calls.append((name, self.current, args[0]))

    @contextmanager
    def device(self, device):
        before, self.current = self.current, device.index
        try:
            yield
        finally:
            self.current = before


def test_everything_inside_seeded_sees_its_own_gpu_as_the_current_one(monkeypatch):
    fake = FakeCuda(monkeypatch)
    with seeded(5, torch.device("cuda", 1)):
        assert fake.current == 1
    assert fake.current == 0
    assert fake.calls == [("manual_seed", 1, 5)]


def test_a_worker_s_gpu_is_selected_with_its_share_of_memory(monkeypatch):
    fake = FakeCuda(monkeypatch)
    select_device(CPU, 0.5)
    assert (fake.current, fake.calls) == (0, [])
    select_device(torch.device("cuda", 2))
    assert (fake.current, fake.calls) == (2, [])
    select_device(torch.device("cuda", 2), 0.25)
    assert fake.calls == [("set_per_process_memory_fraction", 2, 0.25)]
