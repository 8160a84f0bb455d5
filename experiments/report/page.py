"""The page itself: HTML with its style and figures inside, light or dark as the reader's screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from html import escape

from ...search_space import Architecture, Choice, cost, format_quantity
from ...search_space.layers.registry import OPERATORS
from ..run.results import Found
from .charts import Chart
from .facts import Effect, Spent
from .svg import svg

Row = Sequence[str]


def page(title: str, sections: Iterable[tuple[str, str]]) -> str:
    """`sections`: (heading, HTML)."""
    body = "\n".join(
        f"<section><h2>{escape(heading)}</h2>\n{content}</section>" for heading, content in sections
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>{_style()}</style></head>\n"
        f"<body><main><h1>{escape(title)}</h1>\n{body}\n</main></body></html>\n"
    )


def figure(chart: Chart) -> str:
    """The chart over its caption; `chart.key` is the id that a link can name."""
    return (
        f'<figure id="{chart.key}"><div class="scroll">{svg(chart)}</div>'
        f"<figcaption>{escape(chart.caption)}</figcaption></figure>"
    )


def table(head: Row, rows: Iterable[Row]) -> str:
    """Cells are plain text, escaped here."""
    top = "".join(f"<th>{escape(word)}</th>" for word in head)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(word)}</td>' for word in row)}</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead>{lines}</table></div>'


def drawing(found: Found) -> str:
    """An architecture as a row of boxes, one a stage: operator, number, part of the cost."""
    counted = cost(found.architecture)
    final = found.final
    score = f"{found.score_name} {found.score:.4f}"
    if final is not None:
        score += f", {final.shown.replace('+-', '&plusmn;')} over {final.seeds}"
    boxes = [_box("stem", "", counted.stem.flops, counted.flops)]
    for i in range(len(found.architecture.stages)):
        conv, words = _stage_words(found.architecture, i)
        boxes.append(_box(f"stage {i + 1}", words, counted.stages[i].flops, counted.flops, conv))
    boxes.append(_box("head", "", counted.head.flops, counted.flops))
    head = (
        f"<strong>trial {found.trial}</strong> &middot; {score} &middot;"
        f" {format_quantity(found.flops)} multiply-adds &middot;"
        f" {format_quantity(found.params)} parameters"
    )
    return f'<div class="net"><p>{head}</p><div class="boxes">{"".join(boxes)}</div></div>'


def _stage_words(architecture: Architecture, index: int) -> tuple[str, str]:
    """(operator for the colour, what the box says)"""
    stage = architecture.stages[index]
    if not isinstance(stage, Choice):
        convs = {choice.conv for choice in stage}
        return convs.pop() if len(convs) == 1 else "mixed", "\n".join(map(str, stage))
    more = [
        f"{name} {getattr(stage, name):g}"
        for name in ("depth", "width", "kernel")
        if getattr(stage, name) is not None
    ]
    return stage.conv, "\n".join([stage.text, *more])


def _box(name: str, words: str, flops: int, total: int, conv: str = "plain") -> str:
    said = "<br>".join(escape(line) for line in words.splitlines())
    share = f"{format_quantity(flops)} ({100 * flops / total:.0f} %)"
    return (
        f'<div class="box {escape(conv)}"><b>{escape(name)}</b>{said}<small>{share}</small></div>'
    )


def effects_table(effects: Iterable[Effect]) -> str:
    rows = []
    for one in effects:
        error = "" if one.error is None else f" ± {one.error:.4f}"
        verdict = ("helps" if one.difference > 0 else "hurts") if one.clear else ""
        rows.append(
            (one.factor, one.label, str(one.trials), f"{one.difference:+.4f}{error}", verdict)
        )
    note = (
        "<p>Mean score of the trials with a choice, less that of the others, with its standard"
        " error; a verdict where the difference is beyond two of them.</p>"
    )
    head = ("where", "choice", "trials", "difference", "")
    return f"<details><summary>Every choice</summary>{note}{table(head, rows)}</details>"


def spent_table(spent: Spent) -> str:
    rows = [
        ("trials", ", ".join(f"{count} {word}" for word, count in spent.trials.items())),
        ("trainings with new seeds, for the final choice", str(spent.final)),
        ("training, all trials together", _duration(spent.seconds)),
        ("from the first start to the last end", _duration(spent.wall)),
    ]
    rows += [(f"failed {count} x", reason) for reason, count in spent.failures.items()]
    return table(("", ""), rows)


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _style() -> str:
    """The page's style, with the operators' own colours."""
    colours = {name: operator.colours for name, operator in OPERATORS.items()}
    light = ";".join(f"--{name}:{of[0]}" for name, of in colours.items())
    dark = ";".join(f"--{name}:{of[1]}" for name, of in colours.items())
    boxes = "".join(f".box.{name}{{background:var(--{name})}}" for name in colours)
    # Not `format`: a style sheet is full of braces.
    style = _STYLE.replace("__LIGHT__", light).replace("__DARK__", dark)
    return style.replace("__BOXES__", boxes)


_STYLE = """
:root{--ink:#1b2330;--dim:#5b6675;--line:#dfe4ea;--page:#fff;--card:#f6f8fa;--muted:#8a94a6;
--accent:#2563eb;--front:#c2410c;--bad:#b91c1c;--mixed:#ddd6fe;__LIGHT__}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--dim:#9aa6b5;--line:#323b48;--page:#12161c;
--card:#1b212a;--muted:#77839a;--accent:#6ea8fe;--front:#fb923c;--bad:#f87171;--mixed:#3b2f63;__DARK__}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:900px;margin:0 auto;padding:16px}
h1{font-size:1.6em}h2{font-size:1.2em;margin:1.6em 0 .4em}
figure{margin:0}figcaption,small,p{color:var(--dim)}
.scroll{overflow-x:auto}
svg{display:block;width:100%;min-width:600px;height:auto;font:12px system-ui,sans-serif}
svg text{fill:var(--ink)}.end{text-anchor:end}.middle{text-anchor:middle}.name{font-weight:600}
.halo{paint-order:stroke;stroke:var(--page);stroke-width:3px}
.grid{stroke:var(--line)}.axis{stroke:var(--ink)}.rule{stroke:var(--ink);stroke-dasharray:5 4}
.dots{fill:none;stroke-width:5;stroke-linecap:round;stroke-opacity:.55}
.line,.thread{fill:none;stroke-width:2}.thread{stroke-width:1.5}
.dot{fill-opacity:.6}
.dot.muted,.bar.muted{fill:var(--muted)}.line.muted,.dots.muted,.thread.muted{stroke:var(--muted)}
.dot.accent,.bar.accent{fill:var(--accent)}.line.accent,.dots.accent,.thread.accent{stroke:var(--accent)}
.dot.front{fill:var(--front);fill-opacity:1}.line.front,.dots.front{stroke:var(--front)}
.bar.bad{fill:var(--bad)}
table{border-collapse:collapse;width:100%;font-size:.93em}
th,td{text-align:left;padding:4px 10px 4px 0;border-bottom:1px solid var(--line);vertical-align:top}
pre{background:var(--card);padding:12px;overflow-x:auto;border-radius:6px;font-size:.87em}
.net{background:var(--card);border-radius:6px;padding:6px 12px 12px;margin:10px 0}
.boxes{display:flex;flex-wrap:wrap;gap:8px}
.box{flex:1 1 110px;border-radius:6px;padding:6px 8px;background:var(--vanilla);font-size:.87em}
.box b,.box small{display:block}.box small{color:var(--ink);opacity:.75}
.box.plain{flex:0 1 84px;background:none;border:1px solid var(--line)}
__BOXES__.box.mixed{background:var(--mixed)}
summary{cursor:pointer}
"""
