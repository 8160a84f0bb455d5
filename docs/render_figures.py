"""Put measured figures into README and docs: figures.yaml says which, benchmarks/results what.

`shown` lists, page by page, texts of the page with fields in place of figures. A field
`{search.json/conditions/repeats}` is a path into a result; `{demo.json/bytes*1e-9:.1f}` is scaled
and formatted. Everything else of a text stands in the page word for word, however it is wrapped,
and ends it with a word or a sign. `not ours` lists what looks like a measurement and is none.

python docs/render_figures.py
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = ROOT / "benchmarks" / "results"
FIELD = re.compile(r"\{([^{}*:]+\.json/[^{}*:]+)(?:\*([-+.\de]+))?(?::([^{}]*))?\}")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CLAIM = re.compile(
    r"\d ?± ?\d|\d (?:ms|us|points|times as|GB of|MB of)\b|\btaus? -?\.?\d|\d seconds\b(?! between)"
    r"|trials an hour"
)
"""What a measurement looks like."""


def config() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((HERE / "figures.yaml").read_text(encoding="utf-8"))
    return content


@cache
def result(name: str) -> Any:
    return json.loads((RESULTS / name).read_text())


def figure(field: re.Match[str]) -> str:
    """A field's value as the page shows it; the field's text in the error where there is none."""
    path, factor, spec = field.groups()
    name, _, keys = path.partition(".json/")
    try:
        value = result(f"{name}.json")
        for key in keys.split("/"):
            value = value[int(key)] if isinstance(value, list) else value[key]
    except (OSError, KeyError, IndexError, ValueError) as e:
        raise ValueError(f"no result has {field[0]}: {type(e).__name__} {e}") from e
    if factor:
        value *= float(factor)
    return format(value, spec or "")


def shown(text: str, page: str) -> tuple[list[tuple[int, int]], list[str]]:
    """Where in the page the figures of a text are, and what they should be."""
    parts = FIELD.split(text)[:: FIELD.groups + 1]
    words = [r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part in parts]
    # What follows the last word is no digit: "3." is not yet the end of "3.0.".
    found = list(re.finditer(r"([^|\n]*?)".join(words) + r"(?!\d)", page))
    if len(found) != 1:
        raise ValueError(f"{len(found)} places of the page have the text {text!r}")
    spans = [found[0].span(i) for i in range(1, len(parts))]
    return spans, [figure(field) for field in FIELD.finditer(text)]


def rendered(page: str, texts: list[str]) -> str:
    places = []
    for text in texts:
        places += list(zip(*shown(text, page), strict=True))
    for (start, end), figure_ in sorted(places, reverse=True):
        page = page[:start] + figure_ + page[end:]
    return page


def unbacked(page: str, texts: list[str], not_ours: list[str]) -> list[str]:
    """Lines of a page with what looks like a measurement that no result stands for."""
    kept = [*texts, *not_ours]
    for text in kept:
        parts = FIELD.split(text)[:: FIELD.groups + 1]
        words = [r"\s+".join(map(re.escape, re.split(r"\s+", part))) for part in parts]
        page = re.sub(r"[^|\n]*?".join(words), lambda found: "\n" * found[0].count("\n"), page)
    return [line for line in FENCE.sub("", page).splitlines() if CLAIM.search(line)]


def main() -> None:
    for name, texts in config()["shown"].items():
        path = ROOT / name
        path.write_text(rendered(path.read_text(encoding="utf-8"), texts), encoding="utf-8")


if __name__ == "__main__":
    main()
