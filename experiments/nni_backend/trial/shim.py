"""What NNI starts as a trial: it stands for an evaluation in a warm worker, and ends as that ends.

Run as `python -S -E shim.py` and importing three small modules, it starts in hundredths of a
second, where a process of its own would import torch, NNI and the data anew for every trial.
"""

import os
import signal
import socket


def main() -> None:
    link = socket.socket(socket.AF_UNIX)
    link.connect(os.environ["CONVNAS_NNI_SOCKET"])
    link.sendall(f'{{"kind": "trial", "job": "{os.environ["NNI_TRIAL_JOB_ID"]}"}}\n'.encode())

    def cancel(number: int, frame: object) -> None:
        link.sendall(b'{"kind": "cancel"}\n')
        # Die by the signal itself: NNI takes only that for a stop.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, cancel)
    words = b""
    while chunk := link.recv(65536):
        words += chunk
    # The last byte is the exit status, what comes before it the reason of a failure.
    status = words[-1] if words else 1
    os.write(2, words[:-1] or (b"" if words else b"the search has ended\n"))
    os._exit(status)


main()
