from __future__ import annotations

import pytest
import torch

from convnas.evaluators import resolve_device, seeded
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
