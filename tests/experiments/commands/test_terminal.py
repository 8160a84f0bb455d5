"""What is printed stands there as it is: a stage of several blocks, [a, b], is no markup."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from convnas.experiments.cli import main
from convnas.experiments.commands import terminal
from convnas.experiments.run.results import Found
from convnas.experiments.search.progress import Progress
from convnas.search_space import Architecture, Choice

BLOCKS = (Choice("hetconv", p=4), Choice("vanilla"))
ARCH = Architecture("resnet-cifar", (1, 8, 8), 10, (BLOCKS, Choice("vanilla"), BLOCKS))
TEXT = "[hetconv(p=4), vanilla] | vanilla | [hetconv(p=4), vanilla]"
HOSTILE = "[red]x[/red] [/] :smile: [bold](p=4)"
FOUND = Found(3, 0.5, 1000, 10, ARCH, values=(0.5, 1000.0))


@pytest.mark.parametrize(
    ("show", "expected"),
    [
        (lambda: terminal.print_found([FOUND]), TEXT),
        (lambda: terminal.print_front([FOUND], ["accuracy", "flops"]), TEXT),
        (lambda: terminal.print_front([FOUND], ["accuracy", HOSTILE]), HOSTILE),
        (lambda: terminal.print_rows([[HOSTILE, "b"], ["c", "d"]]), HOSTILE),
        (lambda: terminal.print_rows([["a", "b"], ["c", HOSTILE]]), HOSTILE),
        (lambda: terminal.print_lines(HOSTILE), HOSTILE),
        (lambda: terminal.print_cost(_counted(HOSTILE)), HOSTILE),
        (lambda: terminal.print_backbones([{**_LISTED, "name": HOSTILE}]), HOSTILE),
        (lambda: terminal.print_backbones([{**_LISTED, "operators": [HOSTILE]}]), HOSTILE),
    ],
)
def test_every_text_is_printed_as_it_is(show, expected, capsys) -> None:
    show()
    assert expected in capsys.readouterr().out


def _counted(convention):
    part = {"flops": 1}
    return {"stem": part, "stages": [part], "head": part, "convention": convention, **part}


_LISTED = {
    "name": "one",
    "input": [1, 8, 8],
    "classes": 2,
    "depths": [1],
    "params": 1,
    "flops": 1,
    "operators": [],
}

PROGRESS = Progress(
    total=4,
    complete=1,
    pruned=0,
    failed=0,
    running=1,
    best_score=0.5,
    best=TEXT,
    feasible_share=0.5,
    seconds_left=3.0,
    news=f"trial 3: 0.5  {TEXT} {HOSTILE}",
)


def test_a_finished_trial_is_told_as_it_is(capsys) -> None:
    with terminal.LaunchView() as view:
        view(PROGRESS)
        view(replace(PROGRESS, complete=2))
    assert capsys.readouterr().err.count(f"{TEXT} {HOSTILE}") == 2


def test_space_shows_blocks(config, write, capsys) -> None:
    config["space"] = {**config["space"], "granularity": "block"}
    config["space"]["stage"] = {"conv": ["hetconv"], "p": [2, 4], "depth": [2]}
    config["budget"] = {}
    assert main(["space", write(config), "--json"]) == 0
    # The cheapest has equal blocks, which are one choice; the next has not.
    least = json.loads(capsys.readouterr().out)["flops"]["min"]
    config["budget"] = {"flops": {"min": least + 1}}
    path = write(config)
    assert main(["space", path]) == 0
    shown = capsys.readouterr().out
    assert main(["space", path, "--json"]) == 0
    ends = json.loads(capsys.readouterr().out)["architectures"]
    assert "[" in ends["min"]
    for architecture in ends.values():
        assert architecture in shown


def test_status_and_the_closing_table_show_blocks(config, write, tmp_path, capsys) -> None:
    config["space"] = {**config["space"], "granularity": "block"}
    config["space"]["stage"] = {"conv": ["hetconv"], "p": [2, 4], "depth": [2]}
    config |= {"trials": 2, "objectives": ["accuracy", "flops"], "budget": {}}
    config["evaluator"] = {"name": "params"}
    run = str(tmp_path / "run")
    assert main(["launch", write(config), "-o", run]) == 0
    closing = capsys.readouterr().out
    assert main(["status", run]) == 0
    for shown in (closing, capsys.readouterr().out):
        assert "[hetconv(p=" in shown
        assert "[hetconv(p=" in shown.split("Pareto front")[1]


def test_the_live_bar_shows_words_as_they_are(monkeypatch) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=200, **terminal.AS_IT_IS)
    monkeypatch.setattr(terminal, "Console", lambda **how: console)
    monkeypatch.setattr(terminal, "_words", lambda progress: HOSTILE)
    with terminal.LaunchView() as view:
        view(PROGRESS)
    assert HOSTILE in written.getvalue()
