"""tianshou does not go together with the rest of what tests use: `make test-rl` runs its tests."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("tianshou") else ["nni_nas/test_nni_nas_rl.py"]
