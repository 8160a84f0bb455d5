"""Every published figure of docs/costs.yaml, and that docs/costs.md says what is so."""

from __future__ import annotations

import importlib.util
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import convnas
from convnas import InputError

DOCS = Path(convnas.__file__).parent / "docs"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_costs", DOCS / "render_costs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RENDER: Any = load()
DATA = RENDER.read()
FIGURES = [
    pytest.param(
        row,
        name,
        table.get("digits") == "cut",
        id=f"{table['title']}: {row['network']} {name} {row[name]}",
    )
    for table in DATA["tables"]
    for row in table["rows"]
    for name in ("flops", "params")
    if name in row
]


@pytest.mark.parametrize(("row", "name", "cut"), FIGURES)
def test_figure_is_reproduced_or_said_to_differ(row, name, cut) -> None:
    agrees = RENDER.agrees(row, name, cut)
    assert agrees == (name not in row.get("differs", {})), RENDER.ours(row)


@pytest.mark.parametrize("row", DATA["layers"]["rows"], ids=lambda row: str(row["alpha"]))
def test_share_of_a_layer(row) -> None:
    shares = RENDER.layer_shares(row["alpha"])
    for name in ("flops", "memory"):
        assert int(shares[name].quantize(Decimal(1), ROUND_HALF_UP)) == row[name]


@pytest.mark.parametrize("row", DATA["impossible"]["rows"], ids=lambda row: row["network"])
def test_network_that_cannot_exist(row) -> None:
    with pytest.raises(InputError, match=row["reason"]):
        convnas.cost(RENDER.architecture(row))


def test_the_page_is_up_to_date() -> None:
    written = (DOCS / "costs.md").read_text(encoding="utf-8")
    assert written == RENDER.page(DATA), "run: python docs/render_costs.py"
