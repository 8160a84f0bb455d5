"""Write api.md from the package's docstrings: every public name, room by room.

python docs/render_api.py
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

HEAD = """\
# Python interface

Written by `python docs/render_api.py` from the docstrings; a test holds it to them. Names under
`convnas` can be imported from there: `from convnas import SearchSpace`. They load on first use, so
`import convnas` loads neither torch nor Optuna.

Wrong input raises `InputError` (a `ValueError`), whose text is one line with the key, the value and
what is allowed.
"""

ROOMS = {
    "convnas": "The names most people need",
    "convnas.search_space": "What can be chosen, what it costs, how it becomes a network",
    "convnas.evaluators": "How an architecture is scored",
    "convnas.strategies": "What to try next",
    "convnas.experiments": "Launching, results, run directories",
}


def main() -> None:
    (HERE / "api.md").write_text(text(), encoding="utf-8")


def text() -> str:
    parts = [HEAD]
    told: set[int] = set()
    for room, title in ROOMS.items():
        module = importlib.import_module(room)
        parts.append(f"## `{room}`: {title[0].lower()}{title[1:]}\n")
        names = [name for name in module.__all__ if not inspect.ismodule(getattr(module, name))]
        again = [name for name in names if id(getattr(module, name)) in told]
        for name in names:
            thing = getattr(module, name)
            if id(thing) not in told:
                told.add(id(thing))
                parts.append(_entry(f"{room}.{name}", thing, module))
        if again:
            parts.append(
                f"Also here, described above: {', '.join(f'`{name}`' for name in again)}.\n"
            )
    return "\n".join(parts)


def _entry(name: str, thing: Any, module: Any) -> str:
    short = name.rpartition(".")[2]
    lines = [f"### `{name}`\n"]
    if inspect.isclass(thing):
        lines.append(_code(f"class {short}{_signature(thing)}"))
        lines += _paragraphs(thing.__doc__)
        lines += [_member(short, member, found) for member, found in _members(thing)]
    elif inspect.isfunction(thing):
        lines.append(_code(f"{short}{_signature(thing)}"))
        lines += _paragraphs(inspect.getdoc(thing))
    elif isinstance(thing, Mapping):
        listed = ", ".join(f"`{key}`" for key in thing)
        lines.append(f"A mapping with the keys {listed}.\n")
    elif doc := _written_below(module, short):
        lines.append(f"{doc}\n")
    return "\n".join(lines)


def _written_below(module: Any, name: str) -> str | None:
    """The text under an assignment, in the file of the room that makes it."""
    for path in sorted(Path(module.__file__).parent.rglob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for one, following in itertools.pairwise(body):
            targets = one.targets if isinstance(one, ast.Assign) else []
            named = [target.id for target in targets if isinstance(target, ast.Name)]
            if named == [name] and isinstance(following, ast.Expr):
                return inspect.cleandoc(str(ast.literal_eval(following.value)))
    return None


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties of a class that have a docstring and are its own, or of a
    base class of this package."""
    seen = set()
    for base in kind.__mro__:
        if not base.__module__.startswith("convnas"):
            continue
        for name, found in vars(base).items():
            function = getattr(found, "__func__", getattr(found, "fget", None)) or getattr(
                found, "func", found
            )
            public = not name.startswith("_") and name not in seen
            if public and callable(function) and not inspect.isclass(function):
                seen.add(name)
                if function.__doc__:
                    yield name, found


def _member(owner: str, name: str, found: Any) -> str:
    if isinstance(found, (classmethod, staticmethod)):
        head = f"{owner}.{name}{_signature(found.__func__, drop=isinstance(found, classmethod))}"
        doc = found.__func__.__doc__
    elif inspect.isfunction(found):
        head = f".{name}{_signature(found, drop=True)}"
        doc = found.__doc__
    else:
        function = getattr(found, "fget", None) or found.func
        returns = inspect.signature(function).return_annotation
        head = f".{name}" + ("" if returns is inspect.Signature.empty else f": {returns}")
        doc = function.__doc__
    return "\n".join([_code(head), *_paragraphs(doc)])


def _signature(thing: Any, *, drop: bool = False) -> str:
    if inspect.isclass(thing) and issubclass(thing, Exception) and "__init__" not in vars(thing):
        return ""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    if inspect.isclass(thing):
        signature = signature.replace(return_annotation=inspect.Signature.empty)
    parameters = list(signature.parameters.values())[1 if drop else 0 :]
    shown = [_plain(parameter) for parameter in parameters]
    returns = _annotation(signature.return_annotation)
    return str(signature.replace(parameters=shown, return_annotation=returns))


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    """Annotations as they are written; defaults with insides of their own as "..."."""
    default = parameter.default
    simple = default is None or isinstance(default, (bool, int, float, str, tuple))
    if default is not inspect.Parameter.empty and not simple:
        parameter = parameter.replace(default=_Text("..."))
    return parameter.replace(annotation=_annotation(parameter.annotation))


def _annotation(written: Any) -> Any:
    return _Text(written) if isinstance(written, str) else written


class _Text:
    """Shown in a signature without quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _paragraphs(doc: str | None) -> list[str]:
    return [f"{inspect.cleandoc(doc)}\n"] if doc else []


def _code(head: str) -> str:
    if len(head) > 100 and "(" in head:
        head = _over_lines(head)
    return f"```python\n{head}\n```\n"


def _over_lines(head: str) -> str:
    """A parameter a line; commas inside brackets are no ends."""
    start, depth, parts, part = head.index("("), 0, [], ""
    end = head.rindex(")")
    for sign in head[start + 1 : end]:
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += sign
    parts.append(part.strip())
    inside = textwrap.indent(",\n".join(parts) + ",", "    ")
    return f"{head[: start + 1]}\n{inside}\n{head[end:]}"


if __name__ == "__main__":
    main()
