"""YAML as plain data, and nothing that is more, or other, than whoever wrote it can see.

YAML has aliases that multiply (a dozen lines stand for 10^12 values), and lets a later key silently
take an earlier one's place. Both are refused here, as are numbers and characters that no config
has a use for and that later code would stumble over.
"""

from __future__ import annotations

from typing import Any

import yaml

_MOST_REPEATED = 10_000
"""Values that aliases may add to those that are written out."""

_MOST_DIGITS = 1_000
"""Of a whole number; more than any setting has, and fewer than Python writes out (4,300)."""


def parse_yaml(text: str) -> Any:
    """The plain data that `text` writes down. ValueError, in one line, where it is refused."""
    try:
        loader = yaml.SafeLoader(text)  # it refuses characters that are not printable
        root = loader.get_single_node()
        if root is None:
            return None
        _check(root)
        return loader.construct_document(root)
    except (yaml.YAMLError, ValueError) as e:
        raise ValueError(" ".join(str(e).split())) from e
    except RecursionError as e:
        raise ValueError("it is nested too deeply") from e
    except (AttributeError, IndexError, KeyError, TypeError, OverflowError) as e:
        # What PyYAML makes of a tag that does not fit, like `!!int ""`.
        raise ValueError(f"a value does not fit its tag ({type(e).__name__}: {e})") from e


def _check(root: yaml.Node) -> None:
    """Look at every node once. Without recursion, so that any depth composed is looked at."""
    sizes: dict[int, int] = {}  # values in a node with its aliases written out; 0: not yet counted
    stack = [root]
    while stack:
        node = stack[-1]
        parts = _parts(node)
        if id(node) in sizes:
            stack.pop()
            sizes[id(node)] = sizes[id(node)] or 1 + sum(sizes[id(part)] for part in parts)
            continue
        sizes[id(node)] = 0
        _check_scalar(node)
        _check_keys(node)
        for part in parts:
            if id(part) not in sizes:
                stack.append(part)
            elif not sizes[id(part)]:
                raise ValueError(f"the value of line {_line(part)} holds itself")
    if sizes[id(root)] > len(sizes) + _MOST_REPEATED:
        raise ValueError(f"its aliases repeat more than {_MOST_REPEATED:,} values; write them out")


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_scalar(node: yaml.Node) -> None:
    if not isinstance(node, yaml.ScalarNode):
        return
    if node.tag == "tag:yaml.org,2002:int" and len(node.value) > _MOST_DIGITS:
        digits = f"line {_line(node)} has a whole number of {len(node.value):,} digits"
        raise ValueError(f"{digits}; {_MOST_DIGITS:,} are the most")
    if "\0" in node.value:
        raise ValueError(f"line {_line(node)} has a text with the character NUL in it")


def _check_keys(node: yaml.Node) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        name = (key.tag, key.value)
        if name in seen:
            lines = f"lines {seen[name]} and {_line(key)}"
            raise ValueError(f"the key {key.value[:60]!r} is there twice, in {lines}")
        seen[name] = _line(key)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
