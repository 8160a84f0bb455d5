"""What a space leaves out, and when that is a mistake of whoever wrote it."""

from __future__ import annotations

from ..choice import Choice
from ..errors import InputError
from ..layers.base import Misplaced, NotBuildable

_Number = tuple[str, str, object]


class LeftOut:
    """Choices that cannot be built where they were listed.

    One that fits some stages is left out of the others with a note. A number that fits nowhere
    it was listed is wrong input: `check` says so.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._reason: dict[_Number, NotBuildable] = {}
        self._kept: set[_Number] = set()
        self._merged: dict[str, dict[str, None]] = {}

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def keep(self, place: str, choice: Choice) -> None:
        """`choice` can be built in a slot of the list `place`, so none of its numbers is wrong."""
        self._kept.update(_numbers(place, choice))

    def drop(self, place: str, where: str, choice: Choice, reason: NotBuildable) -> None:
        """`place` is the list's key in the config: "stage", or "stages[2]"; `where` the slot."""
        if isinstance(reason, Misplaced):
            self.note(f"{choice.conv} is left out: {reason}")
            return
        self.note(f"{where}: {choice} is left out: {reason}")
        for number in _numbers(place, choice):
            self._reason.setdefault(number, reason)

    def merge(self, where: str, choice: Choice, twin: Choice | None, *, always: bool) -> None:
        """`twin` stands for `choice` in the slot `where`; not `always`: after some choices before
        it."""
        names = str(choice), str(twin)
        if twin is not None and choice.text != twin.text:
            names = choice.text, twin.text  # once for all depths, widths and kernels
        said = f"{names[0]} is {names[1]}" + ("" if always else ", after some choices")
        self._merged.setdefault(said, {})[where] = None

    def merged(self, slots: int) -> list[str]:
        """What stands for what, and where, if not in all of the `slots`."""
        return [
            said if len(places) == slots else f"{said} ({', '.join(places)})"
            for said, places in self._merged.items()
        ]

    def check(self) -> None:
        """Raises InputError for a number that was kept nowhere: one its reason is about, if any."""
        lost = [item for item in self._reason.items() if item[0] not in self._kept]
        # A choice that is dropped puts all its numbers in doubt; the ones that its reason names
        # go first.
        lost.sort(key=lambda item: item[0][1] not in str(item[1]).split())
        for (place, name, value), reason in lost:
            raise InputError(f"{place}.{name}", value, str(reason))


def _numbers(place: str, choice: Choice) -> list[_Number]:
    return [(place, name, value) for name, value in choice.to_dict().items() if name != "conv"]
