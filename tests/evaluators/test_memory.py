"""Memory that really runs out."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from convnas.evaluators.device import out_of_memory

REASON = "out of memory: tried to allocate 270 MiB"

# The limit is put on the child after its data is loaded and one small network is trained. The large
# batch then needs several times the limit, in single tensors of 270 MiB.
CHILD = """
import resource, sys
import torch
torch.set_num_threads(1)
from convnas import evaluators
from convnas.evaluators import EvaluationError
from convnas.search_space import Architecture

def network(size):
    return Architecture.from_dict({"backbone": "resnet-cifar", "input": [1, size, size],
                                   "classes": 10, "stages": [{"conv": "vanilla"}] * 3})

def make(size, batch):
    return evaluators.create({"name": "proxy", "epochs": 1, "batch_size": batch},
                             {"name": "digits"}, input=(1, size, size), classes=10, device="cpu")

small, large = make(8, 64), make(64, 2000)
expected = small.evaluate(network(8), seed=0).score
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)
try:
    large.evaluate(network(64), seed=0)
except EvaluationError as error:
    print("REASON", error)
    print("CONTEXT", error.__context__)
print("AFTERWARDS", small.evaluate(network(8), seed=0).score == expected)
"""

# What one batch keeps for the backward pass is known in closed form; the limit lies between what
# the whole batch needs and what a quarter of it does.
IN_PIECES = """
import resource
import torch
torch.set_num_threads(1)
from convnas import Architecture, cost, evaluators

arch = Architecture.from_dict({"backbone": "resnet-cifar", "input": [1, 16, 16], "classes": 10,
                               "stages": [{"conv": "vanilla"}] * 3})
large = evaluators.create({"name": "proxy", "epochs": 1, "batch_size": 2000}, {"name": "digits"},
                          input=(1, 16, 16), classes=10, device="cpu")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 1078 * cost(arch).backward_bytes * 8 // 10,) * 2)
heard = []
result = large.evaluate(arch, seed=0, report=lambda epoch, metrics: heard.append(epoch))
print(heard, result.metrics["micro_batch"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit and /proc are Linux's")
def test_a_batch_that_does_not_fit_is_tried_again_in_pieces():
    done = subprocess.run(
        [sys.executable, "-c", IN_PIECES],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        # What is freed goes back at once, so that the second try has what the first one had.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "[1] 270.0"


@pytest.mark.skipif(sys.platform != "linux", reason="the limit and /proc are Linux's")
def test_out_of_memory_ends_the_evaluation_with_its_reason_and_frees_the_network():
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"REASON {REASON}; and in pieces of 270 examples: {REASON}",
        "CONTEXT None",
        "AFTERWARDS True",
    ]


def test_an_allocation_that_no_machine_can_serve_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert out_of_memory(caught.value) == f"out of memory: tried to allocate {2**40} MiB"


def test_the_message_of_the_gpu_allocator_is_recognised():
    error = torch.cuda.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.1 GiB"
    )
    assert out_of_memory(error) == "out of memory on the GPU: tried to allocate 2.50 GiB"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("CUDA error: out of memory\nCUDA kernel errors might be", "CUDA error: out of memory"),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED"),
        (
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "CUBLAS_STATUS_ALLOC_FAILED",
        ),
        (
            "GET was unable to find an engine to execute this computation",
            "unable to find an engine",
        ),
        ("FIND was unable to find an engine to execute this", "unable to find an engine"),
    ],
)
def test_what_the_driver_and_the_libraries_say_is_recognised(message, said):
    assert out_of_memory(RuntimeError(message)) == f"out of memory on the GPU: {said}"


def test_other_errors_are_not_taken_for_it():
    assert out_of_memory(RuntimeError("shape mismatch")) is None
    assert out_of_memory(ValueError("out of memory")) is None
