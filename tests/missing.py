"""What skipped tests want, and how to have it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_WANTED = {
    r"chromium": ("a browser", "apt-get install chromium"),
    r"sshd": ("an ssh server", "apt-get install openssh-server"),
    r"PostgreSQL": ("a database server, for clusters", "apt-get install postgresql"),
    r"dataset-fashion-mnist": ("Fashion-MNIST", "apt-get install dataset-fashion-mnist"),
    r"setpriv": ("setpriv", "apt-get install util-linux"),
    r"CUDA": ("a GPU", "run them on a machine with one"),
    r"tianshou|nni-nas-rl": ("tianshou, for nni-nas-rl", "make test-rl"),
    r"root": ("root", "run them as root, in a container say"),
    r"could not import|not installed|needs \w": ("packages", "pip install -e '.[test]'"),
}


def said_of(reasons: Iterable[str]) -> list[str]:
    """A line for each thing that is missing, the one that most tests want first."""
    wanted: Counter[tuple[str, str]] = Counter()
    for reason in reasons:
        found = (want for pattern, want in _WANTED.items() if re.search(pattern, reason))
        wanted[next(found, (reason.removeprefix("Skipped: "), "not on this machine"))] += 1
    return [
        f"{count} test{'s' * (count > 1)} skipped for want of {what}: {how}"
        for (what, how), count in wanted.most_common()
    ]
