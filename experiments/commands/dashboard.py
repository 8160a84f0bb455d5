"""`convnas dashboard`: a run in a web page."""

from __future__ import annotations

import click

from .shared import WholeNumber


@click.command()
@click.argument("run_dir")
@click.option("--nni", is_flag=True, help="In NNI's web UI instead of Optuna's.")
@click.option(
    "--port",
    type=WholeNumber(1, 65535),
    default=8080,
    metavar="P",
    help="Its port [default: 8080].",
)
@click.option("--host", default="127.0.0.1", metavar="HOST", help="This machine only.")
def dashboard(run_dir: str, nni: bool, port: int, host: str) -> None:
    """Show a run in a web page until Ctrl-C: in Optuna's dashboard, live, or in NNI's.

    For looking only: nothing in either can change the run, which may be going on.
    """
    from ..run.directory import RunDirectory
    from ..search.signals import StopRequest

    if nni:
        from ..nni_backend.view import show
    else:
        from ..optuna_dashboard import show
    with StopRequest(lambda: None) as stop:
        show(
            RunDirectory.existing(run_dir),
            host,
            port,
            lambda url: click.echo(f"dashboard: {url}  (Ctrl-C ends it)", err=True),
            lambda: stop.asked,
        )
