"""`convnas nni`: for those who start NNI themselves, with our tuner in it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click


@click.group()
def nni() -> None:
    """Use the search inside an NNI experiment of your own (nnictl create).

    `convnas launch --backend nni` needs none of this: it starts NNI, guarded, by itself.
    """


@nni.command()
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where the files go [default: beside CONFIG].",
)
def init(config: Path | None, out: Path | None) -> None:
    """Write what NNI needs to run CONFIG's search: nni.yml, trial.py and tuner.yml.

    Without CONFIG it is the demo's, copied to FOLDER.
    """
    from ..config.schema import demo_config
    from ..nni_backend.plugin_files import write_plugin_files

    source = config or demo_config()
    folder = out or (source.parent if config else Path())
    for path in write_plugin_files(source, folder):
        click.echo(f"written: {path}", err=True)
    click.echo(
        'NNI by itself lets anybody who reaches it run code as you: eval "$(convnas nni guard)"\n'
        f"next: nnictl create --config {folder / 'nni.yml'}",
        err=True,
    )


@nni.command()
def guard() -> None:
    """Print the lines that have every NNI started from this shell guarded, for eval.

    It is then closed to everybody but you: eval "$(convnas nni guard)"
    """
    from ..nni_backend.guard import guarded_shell

    exports, token = guarded_shell(os.environ)
    for name, value in exports.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(
        "NNI's pages, with its port, in one browser for each experiment: "
        f"http://127.0.0.1:8080/?token={token}",
        err=True,
    )
