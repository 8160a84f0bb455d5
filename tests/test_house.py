"""The shape of the house: rooms import downward only, and importing does nothing."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import convnas

ROOT = Path(convnas.__file__).parent
MAY_IMPORT = {
    "search_space": {"search_space"},
    "evaluators": {"evaluators", "search_space"},
    "strategies": {"strategies", "search_space"},
    "experiments": {"experiments", "evaluators", "strategies", "search_space"},
}


def imported_rooms(path: Path, depth: int) -> set[str]:
    """Rooms that a file reaches by relative imports; `depth` is its folder's depth in its room."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            if node.level == 0:
                names = [node.module or ""]
            elif node.level == depth + 2:
                parts = (node.module or "").split(".")
                rooms |= {parts[0]} if parts[0] else {alias.name for alias in node.names}
        for name in names:
            top = name.partition(".")[0]
            assert top != "convnas", f"{path}: imports inside the package are relative"
            assert top not in MAY_IMPORT, f"{path}: imports {name} past its package"
    return rooms & MAY_IMPORT.keys()


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_downward_only(room) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        depth = len(path.relative_to(ROOT / room).parts) - 1
        reached = imported_rooms(path, depth)
        assert reached <= MAY_IMPORT[room], f"{path.name} imports {reached}"


@pytest.mark.parametrize("room", ["search_space", "evaluators"])
def test_a_bare_gpu_machine_can_evaluate(room) -> None:
    """torch, numpy and yaml are enough: nothing else is imported."""
    heavy = ["optuna", "nni", "pydantic", "click", "rich", "sklearn", "scipy"]
    code = f"import sys, convnas.{room}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_import_convnas_loads_nothing_heavy_and_every_public_name_is_there() -> None:
    code = (
        "import sys, convnas\n"
        "print([m for m in ('torch', 'optuna', 'numpy', 'yaml') if m in sys.modules])\n"
        "print([n for n in convnas.__all__ if getattr(convnas, n, None) is None])\n"
        "print('search_space' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["[]", "[]", "False"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = convnas.nonsense


MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for room in MAY_IMPORT
    for path in (ROOT / room).rglob("*.py")
}


def imported_modules(name: str, path: Path) -> set[str]:
    """The package's own modules that a file imports: in functions and for typing too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.ImportFrom) and node.level):
            continue
        up = node.level - (path.name == "__init__.py")
        above = name.split(".")
        base = above[: len(above) - up] + (node.module or "").split(".")
        module = ".".join(part for part in base if part)
        for alias in node.names:
            below = f"{module}.{alias.name}".lstrip(".")
            found.add(below if below in MODULES else module)
    return {module for module in found if module in MODULES}


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {name: imported_modules(name, path) for name, path in MODULES.items()}
    assert sum(map(len, graph.values())) > len(MODULES)
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_no_folder_has_more_modules_than_can_be_taken_in_at_a_glance() -> None:
    folders = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    assert {str(folder): n for folder, n in folders.items() if n > 17} == {}


def test_a_class_name_means_one_thing() -> None:
    # An exported Python module has shortened copies of the layers, under the names they have here.
    copies = ("experiments.export.python_layers", "search_space.layers.standalone.")
    classes = Counter(
        node.name
        for name, path in MODULES.items()
        if not name.startswith(copies)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, n in classes.items() if n > 1] == []
