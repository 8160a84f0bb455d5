"""`convnas worker` and `convnas proxy`: more machines for a search whose study is on PostgreSQL."""

from __future__ import annotations

import time

import click

from .shared import WholeNumber, number, quiet_optuna


@click.command()
@click.argument("place", metavar="RUN_DIR|STORAGE_URL")
@click.option("--study", metavar="NAME", help="Which, where there are several [default: the one].")
@click.option("--workers", metavar="N", default="auto", help="Processes that train, or auto.")
@click.option("--device", metavar="DEVICE", default="auto", help="auto, cpu, cuda or cuda:1.")
def worker(place: str, study: str | None, workers: str, device: str) -> int:
    """Let this machine train for a search that convnas launch has begun.

    The study is found at postgresql://USER@HOST/DATABASE (the password is PGPASSWORD or in
    ~/.pgpass), at grpc://HOST:PORT where convnas proxy stands in front of it, or as RUN_DIR says;
    it holds the config. Ends with the search. When it is stopped or dies, others take its trials
    over.
    """
    from ..cluster.worker import work

    quiet_optuna()
    ending, made = work(place, study, device=device, workers=number(workers), log=_log)
    _log(f"end: {ending}; {made} trials ended here")
    return 0


@click.command()
@click.argument("place", metavar="RUN_DIR|STORAGE_URL")
@click.option("--host", default="127.0.0.1", metavar="HOST", help="Where to listen, there only.")
@click.option(
    "--port", type=WholeNumber(), default=13000, metavar="P", help="Its port [default: 13000]."
)
def proxy(place: str, host: str, port: int) -> None:
    """Stand between very many workers and PostgreSQL, until Ctrl-C.

    Workers then use grpc://HOST:PORT, without a password. There is no login: on 127.0.0.1 only
    this machine's users reach it, elsewhere whoever reaches the port can change the study.
    """
    from ..cluster.worker import serve_proxy
    from ..search.signals import StopRequest

    with StopRequest(lambda: None) as stop:
        serve_proxy(
            place,
            host,
            port,
            announce=lambda url: click.echo(f"proxy: {url}  (Ctrl-C ends it)", err=True),
            stop=lambda: stop.asked,
        )


def _log(line: str) -> None:
    click.echo(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}", err=True)
