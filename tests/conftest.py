"""Shared by all rooms: one torch thread, and a convolution written out from its definition."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator

# cuBLAS reads it once, at its first use in the process.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from convnas.tests.missing import said_of

torch.set_num_threads(1)

Conv = Callable[..., Tensor]


@pytest.fixture(scope="session")
def naive_conv2d() -> Conv:
    """y[n, o, r, c] = sum over i, a, b of w[o, i, a, b] x[n, i, r s + a - pad, c s + b - pad]."""

    def conv(x: Tensor, weight: Tensor, *, stride: int = 1, groups: int = 1) -> Tensor:
        outputs, inputs, kernel, _ = weight.shape
        pad = kernel // 2
        height = (x.shape[2] - 1) // stride + 1
        width = (x.shape[3] - 1) // stride + 1
        padded = F.pad(x, (pad, pad, pad, pad))
        columns = []
        for o in range(outputs):
            first = o // (outputs // groups) * inputs
            total = torch.zeros(x.shape[0], height, width, dtype=x.dtype)
            for i in range(inputs):
                for a in range(kernel):
                    for b in range(kernel):
                        rows = slice(a, a + (height - 1) * stride + 1, stride)
                        cols = slice(b, b + (width - 1) * stride + 1, stride)
                        total = total + weight[o, i, a, b] * padded[:, first + i, rows, cols]
            columns.append(total)
        return torch.stack(columns, dim=1)

    return conv


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything is installed (CI), a skipped test fails. Excused: no GPU, and no tables of
    others, which are not the project's to ship."""
    report = yield
    excused = "gpu" in item.keywords or "tables" in item.keywords
    if report.skipped and os.environ.get("CONVNAS_SKIPS_FAIL") and not excused:
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.stats.get("skipped", [])
    lines = said_of(str(report.longrepr[2]) for report in reports)
    if lines:
        terminalreporter.section("skipped here, and how to have it")
        for line in lines:
            terminalreporter.write_line(line)
