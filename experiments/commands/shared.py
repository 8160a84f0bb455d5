"""What several commands share: options, how numbers are read, how results and errors are said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, overload

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
DEVICE = click.option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:1.")
SEED = click.option("--seed", type=int, metavar="S", help="Seed of every random choice.")
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
    try:
        return None if text is None else int(text)
    except ValueError:
        return text


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
