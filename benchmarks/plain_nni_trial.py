"""A trial of NNI as its users write it: import, ask for parameters, load the data, build, train.

It stops where training would begin, and notes the time in the folder on its command line. Generous
to this way: a small network, and nothing imported that it does not need.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nni
import torch
from sklearn.datasets import load_digits
from torch import nn


def main() -> None:
    parameters = nni.get_next_parameter()
    images = torch.from_numpy(load_digits().images[:, None] / 16).float()
    width = parameters["width"]
    network = nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * width, 10)
    )
    ready = time.time()
    assert len(images) == 1797
    assert network
    (Path(sys.argv[1]) / os.environ["NNI_TRIAL_JOB_ID"]).write_text(str(ready))
    nni.report_final_result(0.0)


if __name__ == "__main__":
    main()
