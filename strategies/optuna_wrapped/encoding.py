"""How the options of a feasible set look to a sampler that asks for one parameter at a time.

flat: one categorical a factor, "octave(alpha=0.25)" being one label. conditional: a label that
reads NAME(KEY=VALUE, ...) becomes one parameter for the name and, where that name is chosen, one
for each key. Flat searched better in every comparison made; conditional is there for who wants it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...search_space.chain.chain import Chain, Indices, Label
from ...search_space.errors import unknown_name

Ask = Callable[[str, Sequence[Any]], Any]
"""(parameter, its labels) -> the chosen one."""

_CALL = re.compile(r"(\w+)\((.+)\)")


class Flat:
    """One parameter a factor."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain

    def params(self, point: Sequence[int]) -> dict[str, Label]:
        """The parameters of a point."""
        return self.chain.params(point)

    def walk(self, ask: Ask) -> Indices:
        """The point whose parameters `ask` gives; ValueError where they are no option."""
        labels = self.chain.parameters
        return self.chain.locate({name: ask(name, of) for name, of in labels.items()})


class Conditional(Flat):
    """One parameter a factor's name part, and one for each key that part has."""

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain)
        self._parts = {
            factor: {label: _parts(label) for label in labels}
            for factor, labels in chain.parameters.items()
        }

    def params(self, point: Sequence[int]) -> dict[str, Label]:
        found: dict[str, Label] = {}
        for factor, label in self.chain.params(point).items():
            head, values = self._parts[factor][label]
            found[factor] = head
            found.update({f"{factor}.{head}.{key}": value for key, value in values.items()})
        return found

    def walk(self, ask: Ask) -> Indices:
        chosen: dict[str, Label] = {}
        for factor, parts in self._parts.items():
            head = ask(factor, _once(head for head, _ in parts.values()))
            # The labels of the chosen name. Their keys are asked for one by one, so a combination
            # that no label has may come out: ValueError below.
            under = {label: values for label, (own, values) in parts.items() if own == head}
            keys = _once(key for values in under.values() for key in values)
            given = {
                key: ask(
                    f"{factor}.{head}.{key}", _once(v[key] for v in under.values() if key in v)
                )
                for key in keys
            }
            fitting = [label for label, values in under.items() if values == given]
            if not fitting:
                raise ValueError(f"{factor} has no option {head} with {given}")
            chosen[factor] = fitting[0]
        return self.chain.locate(chosen)


ENCODINGS: Mapping[str, type[Flat]] = {"flat": Flat, "conditional": Conditional}


def encoding(name: str, chain: Chain) -> Flat:
    """InputError for an unknown name."""
    if name not in ENCODINGS:
        raise unknown_name("encoding", name, ENCODINGS)
    return ENCODINGS[name](chain)


def _parts(label: Label) -> tuple[Label, dict[str, Label]]:
    """ "octave(alpha=0.25)" -> ("octave", {"alpha": "0.25"}); anything else is all name."""
    call = _CALL.fullmatch(label) if isinstance(label, str) else None
    if call is None:
        return label, {}
    pairs = [pair.partition("=") for pair in call[2].split(",")]
    if not all(equals for _, equals, _ in pairs):
        return label, {}
    return call[1], {key.strip(): value.strip() for key, _, value in pairs}


def _once(things: Any) -> list[Any]:
    return list(dict.fromkeys(things))
