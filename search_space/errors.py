"""What is said when the input is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

_SHOWN = 120
"""Characters of a value that an error shows."""


class InputError(ValueError):
    """Input that cannot be used: one line with the key, the value and what is allowed.

    `key` is the dotted place in the config ("space.stage.alpha"), a file's path, or an argument's
    name. `under` gives the same error as seen from one level up.
    """

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key, self.value, self.allowed = key, value, allowed
        itself = isinstance(value, str) and value in ("this key", "this file")
        shown = value if itself else shortened(value)
        super().__init__(f"{_cut(key)}: {shown} is not allowed; {allowed}")

    def under(self, prefix: str) -> InputError:
        """The same error with `prefix` before its key: "a" and "[2].b" give "a[2].b"."""
        key = f"{prefix}{self.key}" if self.key.startswith("[") else f"{prefix}.{self.key}"
        return InputError(key, self.value, self.allowed)


def unknown_name(key: str, name: object, known: Iterable[str]) -> InputError:
    """The error for a name that is not one of `known`, with the nearest one as a suggestion."""
    names = sorted(known)
    hint = _did_you_mean(name, names)
    return InputError(key, name, f"{hint}choose from: {', '.join(names)}")


def unknown_key(prefix: str, name: object, known: Iterable[str]) -> InputError:
    """The error for a mapping's key that means nothing there."""
    names = sorted(known)
    hint = _did_you_mean(name, names)
    shown = _cut(name) if isinstance(name, str) else shortened(name)
    place = f"{prefix}.{shown}" if prefix else shown
    return InputError(place, "this key", f"{hint}known keys: {', '.join(names)}")


def shortened(value: object) -> str:
    """A value as errors show it: its repr in one line, of a length that can be read.

    What is large is never written out whole, whoever made it: nothing of it beyond its beginning is
    looked at.
    """
    if isinstance(value, str):
        return _cut(repr(value))
    text = ""
    for piece in _pieces(value):
        text += piece
        if len(text) > 2 * _SHOWN:
            return f"{' '.join(text.split())[: _SHOWN - 3]}..."
    return _cut(text)


def _pieces(value: object) -> Iterator[str]:
    """The parts of a value's repr, one after another, for a reader who may have enough of it."""
    if isinstance(value, dict):
        for i, (key, part) in enumerate(value.items()):
            yield ", " if i else "{"
            yield from _pieces(key)
            yield ": "
            yield from _pieces(part)
        yield "}" if value else "{}"
    elif isinstance(value, list | tuple):
        yield "[" if isinstance(value, list) else "("
        for i, part in enumerate(value):
            yield ", " if i else ""
            yield from _pieces(part)
        yield "]" if isinstance(value, list) else ",)" if len(value) == 1 else ")"
    elif isinstance(value, int) and value.bit_length() > 1000:
        yield f"a whole number of {value.bit_length():,} bits"
    else:
        yield repr(value)


def _cut(text: str) -> str:
    # The end of a long path says more than its middle.
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2 - 3]}...{text[-_SHOWN // 2 :]}"


def _did_you_mean(name: object, names: list[str]) -> str:
    near = difflib.get_close_matches(name[:100], names, n=1) if isinstance(name, str) else []
    return f"did you mean {near[0]!r}? " if near else ""
