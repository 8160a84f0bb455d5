"""What NNI starts on another machine: one evaluation, as the experiment beside it says.

`python -m convnas.experiments.nni_backend.trial.remote`, in a folder with `config.yaml`. It ends
with the process of NNI's that started it; where it fails, the last line of its stderr says why.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback

from ....evaluators import EvaluationError, resolve_devices
from .trial import nni_trial


def main() -> int:
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    # NNI stops a trial with SIGINT, and takes only a death by it for a stop.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        with nni_trial("config.yaml") as trial:
            devices = resolve_devices(trial.config.device)
            # In turn, by NNI's count over all machines. Two may meet on one device: we accept this,
            # since a trial does not know what the others use.
            device = str(devices[int(os.environ.get("NNI_TRIAL_SEQ_ID", "0")) % len(devices)])
            trial.finish(trial.evaluate(device))
    except EvaluationError as e:
        print(" ".join(str(e).split()), file=sys.stderr)
        return 1
    except Exception as e:  # noqa: BLE001  (whatever it is, it ends this trial only)
        traceback.print_exc()
        print(" ".join(f"{type(e).__name__}: {e}".split())[:500], file=sys.stderr)
        return 1
    return 0


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
