"""The report: its statistics against outside ones, its page at 5 and 5,000 trials, in a browser."""

from __future__ import annotations

import datetime
import html.parser
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from scipy import stats

from convnas.experiments import read_config
from convnas.experiments.cli import main
from convnas.experiments.report import facts
from convnas.experiments.report.svg import nice_ticks
from convnas.experiments.report.write import rendered
from convnas.experiments.run.results import Results
from convnas.search_space import cost

SPACE = {
    "backbone": "resnet-cifar",
    "input": [1, 8, 8],
    "classes": 10,
    "stage": {"conv": ["vanilla", "octave", "hetconv"], "alpha": [0.25, 0.5], "p": [2, 4]},
}
CONFIG = {"name": "made", "space": SPACE, "budget": {"flops": "1M"}}
START = datetime.datetime(2026, 1, 1)


def trials(count: int) -> list[FrozenTrial]:
    """Trials whose score is a known function of the first stage, and a little noise."""
    config = read_config(CONFIG)
    rng = np.random.default_rng(0)
    made = []
    for number, arch in enumerate(config.feasible(config.search_space()).sample(rng, count)):
        score = 0.9 + 0.05 * (arch.stages[0].conv == "octave") + float(rng.normal(0, 0.01))
        counted = cost(arch)
        attrs = {
            "architecture": arch.to_dict(),
            "key": arch.key,
            "flops": counted.flops,
            "params": counted.params,
            "curve": [score - 0.3, score],
            "metric.seconds": 12.0,
        }
        trial = create_trial(value=score, user_attrs=attrs)
        trial.number = number
        trial.datetime_start = START + datetime.timedelta(seconds=20 * number)
        trial.datetime_complete = trial.datetime_start + datetime.timedelta(seconds=15)
        made.append(trial)
    return made


class Page(html.parser.HTMLParser):
    """What a page is made of; elements must be closed in the order they were opened."""

    VOID = ("meta", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.tags: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not {"src", "href", "onload"} & {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)


@pytest.mark.parametrize("count", [1, 5, 5000])
def test_a_page_of_any_size_is_whole_and_needs_no_network(count) -> None:
    failed = create_trial(state=TrialState.FAIL, user_attrs={"reason": "<script>no</script>"})
    text, charts = rendered(Results(read_config(CONFIG), [*trials(count), failed], []))
    page = Page(text)
    assert "script" not in page.tags
    assert "link" not in page.tags
    for heading in ("Best architectures", "Best so far", "Cost of the search", "Settings"):
        assert heading in page.headings
    assert ("Choices and score" in page.headings) == (count > 1)
    assert len(text) < 600_000
    assert "nan" not in re.sub("finance", "", text)
    assert len({chart.key for chart in charts}) == len(charts)


@pytest.mark.parametrize(
    ("budget", "drawn"),
    [
        ({}, set()),
        ({"params": "200K"}, set()),
        ({"flops": {"min": "500K", "max": "1M"}}, {"least allowed", "budget"}),
    ],
)
def test_the_budget_s_lines_are_those_of_its_limits_on_flops(budget, drawn) -> None:
    text, _ = rendered(Results(read_config(CONFIG | {"budget": budget}), trials(20), []))
    assert {word for word in ("least allowed", "budget") if f">{word}</text>" in text} == drawn


def test_the_front_against_its_definition() -> None:
    found = facts.scored(trials(300))
    front = facts.pareto(found)
    values = {(one.flops, one.score) for one in found}
    expected = {
        (f, s)
        for f, s in values
        if not any((g <= f and t >= s) and (g, t) != (f, s) for g, t in values)
    }
    assert {(one.flops, one.score) for one in front} == expected


def test_importance_is_what_an_analysis_of_variance_says() -> None:
    found = facts.scored(trials(200))
    known = {one.factor: one.share for one in facts.importances(found)}
    groups: dict[str, list[float]] = {}
    for one in found:
        groups.setdefault(str(one.architecture.stages[0]), []).append(one.score)
    F = stats.f_oneway(*groups.values()).statistic
    k, n = len(groups), len(found)
    # Epsilon squared from F (Kelley, 1935).
    assert known["stage 1"] == pytest.approx((F - 1) * (k - 1) / ((k - 1) * F + n - k))
    assert known["stage 1"] > 0.7
    assert known["stage 2"] < 0.1


def test_effects_are_differences_of_means_with_welchs_error() -> None:
    found = facts.scored(trials(200))
    (hetconv,) = (
        one for one in facts.effects(found) if (one.factor, one.label) == ("any stage", "hetconv")
    )
    mine = [s.score for s in found if any(c.conv == "hetconv" for c in s.architecture.stages)]
    rest = [s.score for s in found if not any(c.conv == "hetconv" for c in s.architecture.stages)]
    welch = stats.ttest_ind(mine, rest, equal_var=False)
    assert hetconv.error is not None
    assert hetconv.difference / hetconv.error == pytest.approx(welch.statistic)
    clear = {(one.factor, one.label): one.difference for one in facts.effects(found) if one.clear}
    assert clear["stage 1", "octave(alpha=0.25)"] > 0


def test_proxies_are_rank_correlations() -> None:
    found = facts.scored(trials(100))
    known = {one.name: one.rho for one in facts.proxies(found, [])}
    flops = stats.spearmanr([s.flops for s in found], [s.score for s in found]).statistic
    assert known["flops"] == pytest.approx(flops)
    assert known["score after epoch 1"] == pytest.approx(1)


def test_cost_counts_every_trial() -> None:
    some = trials(10)
    failed = create_trial(state=TrialState.FAIL, user_attrs={"reason": "out of memory"})
    failed.datetime_start = failed.datetime_complete = START
    spent = facts.spent([*some, failed], [])
    assert (spent.seconds, spent.wall) == (120.0, 9 * 20 + 15)
    assert spent.failures == {"out of memory": 1}
    assert spent.trials["complete"] == 10


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.9712, 0.9984), (3e5, 1e6), (-1, 1), (5, 5)])
def test_ticks_are_few_and_inside(low, high) -> None:
    ticks = nice_ticks(low, high)
    assert 1 <= len(ticks) <= 8
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)


def test_the_command_writes_page_and_figures(run, tmp_path, capsys) -> None:
    pytest.importorskip("matplotlib")
    before = {path.name for path in run.iterdir()}
    assert main(["report", str(run), "--png", str(tmp_path / "figures")]) == 0
    assert {path.name for path in run.iterdir()} - before == {"report.html"}
    for path in (tmp_path / "figures").iterdir():
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert {"importance.png", "parallel.png", "progress.png", "tradeoff.png"} <= set(names)
    below_a_file = run / "config.yaml" / "page.html"
    assert main(["report", str(run), "-o", str(below_a_file)]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("width", [1000, 400])
def test_a_browser_shows_every_section_and_no_figure_is_wider_than_the_screen(
    tmp_path, width
) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    text, _ = rendered(Results(read_config(CONFIG), trials(50), []))
    # The page itself has no script; this one measures it.
    probe = (
        "<script>document.title = JSON.stringify([document.documentElement.scrollWidth,"
        "document.documentElement.clientWidth,"
        "[...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height > 90)"
        ".length])</script></body>"
    )
    page = tmp_path / "page.html"
    page.write_text(text.replace("</body>", probe))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    done = subprocess.run(
        # A window is at least 500 wide: the narrow screen is a frame inside one.
        [chromium, *flags, "--dump-dom", _framed(page, width)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    measured = re.search(r"\[(\d+),(\d+),(\d+)\]", done.stdout)
    assert measured is not None, done.stdout[-500:] + done.stderr[-500:]
    wide, screen, figures = map(int, measured.groups())
    assert wide <= screen <= width
    assert figures == 5


def _framed(page: Path, width: int) -> str:
    """A page that shows `page` in a frame and takes over its title."""
    content = page.read_text().replace("document.title =", "parent.document.body.dataset.said =")
    frame = page.with_name("frame.html")
    quoted = content.replace("&", "&amp;").replace('"', "&quot;")
    frame.write_text(
        f'<body><iframe style="border:0;width:{width}px;height:900px" srcdoc="{quoted}">'
        "</iframe></body>"
    )
    return frame.as_uri()
