"""What several commands share: options, how numbers are read, how results and errors are said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, overload

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


class WholeNumber(click.IntRange):
    """In the digits 0 to 9: Python's int reads those of every script, and thousands of them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not re.fullmatch(r"[+-]?[0-9]{1,100}", value):
            self.fail(f"{value[:100]!r} is not a whole number in the digits 0 to 9", param, ctx)
        return super().convert(value, param, ctx)

    def _describe_range(self) -> str:
        # Without bounds click would show "x<=None" in the help.
        return super()._describe_range() if (self.min, self.max) != (None, None) else ""


JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
DEVICE = click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:1.")
SEED = click.option("--seed", type=WholeNumber(), metavar="S", help="Seed of every random choice.")
WORKERS = click.option("--workers", metavar="N", help="Processes that train, or auto.")
BUDGET = click.option(
    "--budget", metavar="FLOPS", help="Most multiply-adds allowed, like 400K or 1.5M."
)


def out_option(metavar: str, help: str) -> Callable[[_Command], _Command]:
    """The option `-o`: what it names, and where a result goes without it."""
    return click.option("-o", "--out", metavar=metavar, type=click.Path(path_type=Path), help=help)


@overload
def number(text: str) -> int | str: ...
@overload
def number(text: None) -> None: ...
def number(text: str | None) -> int | str | None:
    """`--workers`: a whole number where it is one; the config's reader judges the rest."""
    return int(text) if text is not None and re.fullmatch("-?[0-9]{1,9}", text) else text


def listed(key: str, text: str) -> list[str]:
    """The names in "a,b,c". InputError where there is none."""
    from ...search_space.errors import InputError

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise InputError(key, text, "give one name, or several with commas between them")
    return names


def emit(thing: Any) -> None:
    """As JSON, on standard output."""
    click.echo(json.dumps(thing, indent=2))


def say(line: str, status: int) -> int:
    """One line on standard error; returns the exit status."""
    click.echo(f"convnas: {' '.join(line.split())}", err=True)
    return status


def quiet_optuna() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
