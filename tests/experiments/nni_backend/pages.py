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
