"""The command line. Exit status: 0 good, 1 the run failed, 2 wrong input (one line says how).

Heavy imports happen inside the commands, so that help and usage errors are instant.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Sequence

import click

from .. import __version__
from .commands import (
    architectures,
    cluster,
    convert,
    dashboard,
    evaluating,
    init,
    listing,
    nni,
    runs,
    searching,
    track,
    train,
)
from .commands.shared import say
from .errors import RunError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    try:
        status = cli.main(args=argv, prog_name="convnas", standalone_mode=False)
    except click.exceptions.Abort:
        return say("stopped", 1)
    except click.ClickException as e:
        return say(f"{e.format_message()} (see convnas --help)", 2)
    except RunError as e:
        return say(str(e), 1)
    except OSError as e:
        return _unusable(e)
    except (MemoryError, ImportError) as e:
        # Without such a limit it is a broken installation or a bug, and the traceback is wanted.
        if not _address_space():
            raise
        return say(f"{_too_little()} ({e})", 1)
    except ValueError as e:
        from ..search_space.errors import InputError

        if not isinstance(e, InputError):
            raise
        return say(str(e), 2)
    return status if isinstance(status, int) else 0


def _unusable(error: OSError) -> int:
    """Say what the system has against a file, where no command has said it better."""
    if error.filename is not None:
        # A name too long, a folder that may not be read.
        return say(f"{error.filename}: {error.strerror}", 2)
    if error.errno not in (errno.ENOSPC, errno.EPIPE):
        raise error
    # What is left in the buffer would fail once more at the end.
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if error.errno == errno.EPIPE:
        return 1  # whoever read our output has gone, and need not be told
    return say(f"what was to be written has no room: {error.strerror}", 1)


def _address_space() -> int:
    """MiB that `ulimit -v` leaves this process; 0 where it sets no limit."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return 0 if limit == resource.RLIM_INFINITY else limit >> 20


def _torch_fits() -> bool:
    """Tried in a process of its own: where memory ends, torch aborts and nothing can be caught."""
    argv = [sys.executable, "-c", "import torch, optuna"]
    done = subprocess.run(argv, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return done.returncode == 0


def _too_little() -> str:
    return f"there is too little memory: ulimit -v allows {_address_space()} MiB of addresses"


def entry_point() -> None:
    sys.exit(main())


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="convnas", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Search for the best convolutional network inside a compute budget.

    `convnas launch` runs a search (without a config: a demo on handwritten digits), `convnas
    export` hands over what it found.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        return
    if _address_space() and not _torch_fits():
        raise RunError(_too_little())
    if os.environ.get("CONVNAS_PLUGINS"):
        from .config.plugins import load_from_environment

        load_from_environment()


for _command in (
    init.init,
    init.schema,
    searching.launch,
    searching.compare,
    listing.runs,
    listing.diff,
    runs.status,
    runs.export,
    runs.report,
    train.train,
    convert.convert,
    architectures.space,
    architectures.cost,
    architectures.backbones,
    architectures.tune,
    evaluating.tabulate,
    evaluating.fidelity,
    evaluating.latency,
    dashboard.dashboard,
    track.track,
    nni.nni,
    cluster.worker,
    cluster.proxy,
):
    cli.add_command(_command)
