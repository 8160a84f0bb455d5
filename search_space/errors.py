"""What is said when the input is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that cannot be used: one line with the key, the value and what is allowed.

    `key` is the dotted place in the config ("space.stage.alpha"), a file's path, or an argument's
    name. `under` gives the same error as seen from one level up.
    """

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key, self.value, self.allowed = key, value, allowed
        super().__init__(f"{key}: {_short(value)} is not allowed; {allowed}")

    def under(self, prefix: str) -> InputError:
        key = f"{prefix}{self.key}" if self.key.startswith("[") else f"{prefix}.{self.key}"
        return InputError(key, self.value, self.allowed)


def unknown_name(key: str, name: object, known: Iterable[str]) -> InputError:
    """The error for a name that is not one of `known`, with the nearest one as a suggestion."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return InputError(key, name, f"{hint}choose from: {', '.join(names)}")


def unknown_key(prefix: str, name: object, known: Iterable[str]) -> InputError:
    """The error for a mapping's key that means nothing there."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    place = f"{prefix}.{name}" if prefix else str(name)
    return InputError(place, "this key", f"{hint}known keys: {', '.join(names)}")


def _short(value: object) -> str:
    text = value if value in ("this key", "this file") else repr(value)
    text = " ".join(str(text).split())
    # The end of a long path says more than its middle.
    return text if len(text) <= 120 else f"{text[:57]}...{text[-60:]}"
