"""What somebody reads on NNI's pages, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from convnas.tests.experiments import browser
from convnas.tests.experiments.nni_backend.helpers import Web

_BEST = r"""(() => {
    const lines = document.body.innerText.split('\n').map(line => line.trim()).filter(line => line);
    const value = lines[lines.indexOf('Best metric') - 1];
    return isNaN(parseFloat(value)) ? null : value;
})()"""
"""What stands above the words, once it is a number."""


def best_metric(web: Web, folder: Path) -> float:
    """Of the overview."""
    with browser.Page(f"{web.base}/oview", folder / "overview", web.headers) as page:
        return float(page.wait_for(_BEST))


_INKED = """[...document.querySelectorAll('canvas')].some(canvas => {
    const {width, height} = canvas;
    const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
    return new Set(new Uint32Array(data.buffer)).size > 100;
})"""
"""Whether a chart is drawn: a blank one has few colours."""

_REFUSED = """performance.getEntriesByType('resource').filter(each => each.responseStatus >= 400)
    .map(each => new URL(each.name).pathname)"""


def charts(web: Web, folder: Path) -> tuple[list[str], set[str]]:
    """What stands at the axes of the hyper-parameter chart, and the paths that were refused.

    The metric, duration and intermediate-result charts of the detail page are waited for too.
    """
    with browser.Page(f"{web.base}/detail", folder / "charts", web.headers) as page:
        page.wait_for(_INKED)
        for tab in ("Duration", "Intermediate result", "Hyper-parameter"):
            tabs = "[...document.querySelectorAll('[role=tab]')]"
            found = f"{tabs}.find(each => each.innerText.includes('{tab}'))"
            page.evaluate(f"{found}.click()")
            page.wait_for(f"{found}.ariaSelected == 'true' && {_INKED}")
        axes = page.evaluate(
            "[...document.querySelectorAll('svg text')].map(each => each.textContent)"
        )
        return axes, set(page.evaluate(_REFUSED))


def parameters(web: Web, job: str, folder: Path) -> dict[str, Any]:
    """Of the trial that NNI calls `job`, once its row on the detail page is unfolded."""
    with browser.Page(f"{web.base}/detail", folder / f"detail-{job}", web.headers) as page:
        rows = "[...document.querySelectorAll('.ms-DetailsRow')]"
        row = f"{rows}.find(r => r.innerText.includes('{job}'))"
        icon = f"{row}?.querySelector('[data-automation-key=_expand] i')"
        page.wait_for(f"!!{icon}")
        page.evaluate(f"{icon}.click()")
        text = page.wait_for(
            "/stage3\\.p:/.test(document.body.innerText) && document.body.innerText"
        )
    shown = [line.partition(":") for line in text.splitlines() if line.startswith("stage")]
    return {key: json.loads(value) for key, _, value in shown}
