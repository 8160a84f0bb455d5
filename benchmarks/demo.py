"""The demo's search as a user runs it: seconds, processor time, memory, and what it prints.

Memory is the proportional set size of all its processes together, which counts what they share
once, looked at ten times a second. Run: make bench-demo, on a machine with nothing else to do; kept
in results/demo.json.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from convnas.benchmarks.record import keep
from convnas.benchmarks.timing import conditions


def family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        threads = Path(f"/proc/{pid}/task").iterdir()
        children = [int(c) for t in threads for c in (t / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(below for child in children for below in family(child))]


def memory(pid: int) -> int:
    """Bytes."""
    total = 0
    for each in family(pid):
        try:
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:
            continue
        total += 1024 * int(text.split("\nPss:")[1].split()[0])
    return total


def main() -> None:
    began = conditions("cpu")
    most, over = 0, threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("convnas")), "launch", "-o", "demo"]
        start = time.perf_counter()
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:

            def watch() -> None:
                nonlocal most
                while not over.wait(0.1):
                    most = max(most, memory(process.pid))

            watching = threading.Thread(target=watch)
            watching.start()
            printed = process.communicate()[0]
            seconds = time.perf_counter() - start
            over.set()
            watching.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"the demo ended with {process.returncode}")
    result = {
        "what": (__doc__ or "").splitlines()[0],
        "conditions": {**began, "load_average_at_end": round(os.getloadavg()[0], 1)},
        "seconds": round(seconds, 1),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "memory_bytes": most,
        "printed": printed.splitlines(),
    }
    keep("demo.json", result)


if __name__ == "__main__":
    main()
