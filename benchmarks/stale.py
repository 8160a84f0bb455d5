"""Which kept results are older than the code that they were measured on, and what shows them.

Run: python -m convnas.benchmarks.stale. It fails where README shows a figure of one; the cure is
to measure again, with the command that it prints.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import yaml

from convnas.benchmarks import record

FIGURES = record.ROOT / "docs" / "figures.yaml"


def changed(name: str, result: dict[str, Any]) -> list[str]:
    """The files that are not as they were when `result` was measured; empty where all are."""
    if "made" not in result:
        return ["unknown: it was measured before results kept their sources"]
    kept, now = result["made"]["sources"], record.digests(name)
    return sorted(
        {path for digest, path in {**kept, **now}.items() if (digest in kept) != (digest in now)}
    )


def shown_in() -> dict[str, set[str]]:
    """Result -> the pages that show a figure of it."""
    pages: dict[str, set[str]] = {}
    for page, texts in yaml.safe_load(FIGURES.read_text())["shown"].items():
        for name in record.known():
            if any(f"{{{name}/" in text for text in map(str, texts)):
                pages.setdefault(name, set()).add(page)
    return pages


def main() -> int:
    pages, failed = shown_in(), False
    for name, about in record.known().items():
        path = record.RESULTS / name
        shown = ", ".join(sorted(pages.get(name, ()))) or "no page"
        why = changed(name, json.loads(path.read_text())) if path.exists() else ["not measured yet"]
        if not why:
            print(f"current  {name}  (in {shown})")
            continue
        some = ", ".join(why[:4]) + (f" and {len(why) - 4} more" if len(why) > 4 else "")
        print(f"STALE    {name}  (in {shown}): {some}\n         again: {about['again']}")
        failed |= "README.md" in pages.get(name, ())
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
