"""The documents: what is generated is up to date, links lead somewhere, Python is Python."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
import yaml

import convnas

ROOT = Path(convnas.__file__).parent
PAGES = sorted(page for room in (".", "docs", "examples") for page in (ROOT / room).glob("*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def render(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_python_interface_is_described_as_it_is() -> None:
    written = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert written == render("render_api").text(), "out of date: make docs writes it"


def test_every_public_name_has_a_docstring() -> None:
    rooms = [convnas, *(getattr(convnas, room) for room in convnas._ROOMS)]
    without = [
        f"{room.__name__}.{name}"
        for room in rooms
        for name in room.__all__
        if isinstance(thing := getattr(room, name), type | FunctionType)
        and not (thing.__doc__ or "").strip()
    ]
    assert without == []


def anchors(page: Path) -> set[str]:
    """As GitHub names the headings."""
    found = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in found)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = []
    for target in LINK.findall(text):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_and_yaml_in_the_text_can_be_read(page: Path) -> None:
    for language, code in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "python" and page.name != "api.md":  # api.md holds signatures
            ast.parse(code)
        if language == "yaml":
            # A line of dots stands for what is left out.
            yaml.safe_load(re.sub(r"^ *\.\.\.$", "", code, flags=re.MULTILINE))


def test_the_index_names_every_document() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    others = [page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md"]
    assert [name for name in others if f"({name})" not in index] == []


def test_every_key_of_a_config_is_described() -> None:
    from convnas.evaluators import RetrainSettings
    from convnas.evaluators.data.examples import DivisionSettings
    from convnas.evaluators.latency.measure import LatencySettings
    from convnas.experiments import ExperimentConfig
    from convnas.experiments.config.sections import Pruner, ZeroCostUse
    from convnas.search_space.chain.stage_options import StageOptions
    from convnas.search_space.space import _KEYS

    sections = {
        "The experiment": list(ExperimentConfig.model_fields),
        "space": [*_KEYS, *StageOptions.names()],
        "data": list(DivisionSettings.__dataclass_fields__),
        "latency": [*LatencySettings.__dataclass_fields__, "table"],
        "zero_cost": [key for key in ZeroCostUse.model_fields if key != "measured"],
        "pruner": list(Pruner.model_fields),
    }
    text = (ROOT / "docs" / "space.md").read_text(encoding="utf-8")
    for title, keys in sections.items():
        section = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
        assert [key for key in keys if f"\n| `{key}` |" not in section] == [], title
    recipe = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert [key for key in RetrainSettings.__dataclass_fields__ if f"`{key}`" not in recipe] == []


FIGURES = yaml.safe_load((ROOT / "docs" / "figures.yaml").read_text(encoding="utf-8"))
MEASURED = [page for page in PAGES if page.name not in ("api.md", "costs.md", "CHANGELOG.md")]


@pytest.mark.parametrize("name", FIGURES["shown"])
def test_measured_figures_are_those_of_the_kept_results(name: str) -> None:
    page = (ROOT / name).read_text(encoding="utf-8")
    assert page == render("render_figures").rendered(page, FIGURES["shown"][name]), (
        "make docs writes the figures"
    )


def test_a_figure_that_drifted_is_found_and_put_right() -> None:
    renderer = render("render_figures")
    (text,) = [text for text in FIGURES["shown"]["docs/nni.md"] if text.startswith("| convnas |")]
    right = renderer.rendered(f"{renderer.FIELD.sub('7', text)}\n", [text])
    kept = json.loads((ROOT / "benchmarks" / "results" / "nni.json").read_text())
    median = kept["seconds_from_nni_starting_a_trial_until_it_can_train"]["convnas"]["median"]
    assert right.startswith(f"| convnas | {median:.2f} s |")
    with pytest.raises(ValueError, match="0 places"):
        renderer.rendered("It is fast.\n", [text])
    with pytest.raises(ValueError, match="no result has"):
        renderer.rendered("5 s\n", ["{nni.json/seconds} s"])


@pytest.mark.parametrize("page", MEASURED, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_measurement_stands_in_a_page_without_a_result(page: Path) -> None:
    texts = FIGURES["shown"].get(str(page.relative_to(ROOT)), [])
    written = page.read_text(encoding="utf-8")
    assert render("render_figures").unbacked(written, texts, FIGURES["not ours"]) == []
