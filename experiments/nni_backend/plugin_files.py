"""What NNI's user needs to start an experiment with our tuner: NNI's own config, a trial script."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import yaml

from ...search_space.errors import InputError
from ..run.outputs import write_out
from ..search.prepare import Prepared, prepared_from
from .driver.experiment_profile import TUNER
from .parameters import nni_space

_HEAD = """\
# nnictl create --config {name}        NNI's config reference:
# https://nni.readthedocs.io/en/stable/reference/experiment_config.html
# The tuner reads space, budget and strategy from {config}; what stands here as searchSpace is for
# NNI's pages alone. Its study, which convnas status, report and export read, is in run_dir.
"""

_TRIAL = '''\
"""One trial of NNI. By hand, without NNI: python {name}"""

from convnas.experiments import nni_trial

with nni_trial({config!r}) as trial:
    # As convnas launch would train it. For a training of your own, in place of these two lines:
    #     network = trial.build_network()
    #     for epoch in range(1, 6):
    #         accuracy = ...                                    # train `network`, measure it
    #         if trial.report(epoch, {{"accuracy": accuracy}}):   # True: it is to stop
    #             break
    #     trial.finish(accuracy)
    result = trial.evaluate()
    trial.finish(result)
'''

_META = f"""\
# nnictl algo register --meta tuner.yml
# and then, in NNI's config:  tuner: {{name: convnas, classArgs: ...}}
algoType: tuner
builtinName: convnas
className: {TUNER}
"""


def write_plugin_files(source: Path, folder: Path) -> list[Path]:
    """Write `nni.yml`, `trial.py` and `tuner.yml` for the experiment of the config `source`.

    The config is copied where it is not in `folder` already. Nothing is overwritten: InputError.
    """
    prepared = prepared_from(source)
    own = folder / source.name
    texts = {
        "nni.yml": _nni_config(prepared, own.absolute()),
        "trial.py": _TRIAL.format(name="trial.py", config=own.name),
        "tuner.yml": _META,
    }
    if own.absolute() != source.absolute():
        texts[own.name] = source.read_text()
    paths = [folder / name for name in texts]
    # All are looked at before the first is written.
    for path in paths:
        if path.exists():
            raise InputError("out", str(path), "it is there already; choose another folder")
    for path in paths:
        write_out(path, texts[path.name])
    return paths


def _nni_config(prepared: Prepared, own: Path) -> str:
    config = prepared.config
    workers = config.workers if isinstance(config.workers, int) else 1
    head = _HEAD.format(name="nni.yml", config=own.name)
    space = "".join(
        f"  {key}: {yaml.safe_dump(value, default_flow_style=True, width=10**6)}"
        for key, value in nni_space(prepared.feasible.distributions).items()
    )
    settings = {
        "experimentName": config.name,
        "trialCommand": shlex.join([sys.executable, "trial.py"]),
        "trialCodeDirectory": ".",
        "trialConcurrency": min(workers, config.trials),
        "maxTrialNumber": config.trials,
        "tuner": {
            "codeDirectory": ".",
            "className": TUNER,
            "classArgs": {
                "config": str(own),
                "run_dir": str(own.parent / "runs" / config.name),
            },
        },
        "trainingService": {"platform": "local"},
    }
    text = yaml.safe_dump(settings, sort_keys=False, default_flow_style=None, width=100)
    return f"{head}{text}searchSpace:\n{space}"
