"""What a space leaves out, and when that is a mistake of whoever wrote it."""

from __future__ import annotations

from .architecture import Choice
from .errors import InputError
from .layers import Misplaced, NotBuildable

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

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def keep(self, place: str, choice: Choice) -> None:
        self._kept.update(_numbers(place, choice))

    def drop(self, place: str, stage: int, choice: Choice, reason: NotBuildable) -> None:
        """`place` is the list's key in the config: "stage", or "stages[2]"."""
        if isinstance(reason, Misplaced):
            self.note(f"{choice.conv} is left out: {reason}")
            return
        self.note(f"stage {stage}: {choice} is left out: {reason}")
        for number in _numbers(place, choice):
            self._reason.setdefault(number, reason)

    def check(self) -> None:
        """Raises InputError for the first number that was kept nowhere."""
        for number, reason in self._reason.items():
            if number not in self._kept:
                place, name, value = number
                raise InputError(f"{place}.{name}", value, str(reason))


def _numbers(place: str, choice: Choice) -> list[_Number]:
    return [(place, name, value) for name, value in choice.to_dict().items() if name != "conv"]
