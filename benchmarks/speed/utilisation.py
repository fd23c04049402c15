"""How busy an accelerator is, as its driver's tool reports it while something else runs."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

import numpy as np

EVERY_MS = 100
QUERY = ("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", f"--loop-ms={EVERY_MS}")
STOP_SECONDS = 2.0


@dataclass(frozen=True)
class Utilisation:
    """Readings of the monotonic clock with the share of time, 0 to 1, for which the accelerators were busy."""

    seen: list[tuple[float, float]] = field(default_factory=list)

    def mean(self, start: float, end: float) -> float | None:
        """Mean share between two readings of the clock; None where nothing was seen."""
        shares = [share for when, share in self.seen if start <= when <= end]
        return float(np.mean(shares)) if shares else None

    def read(self, lines: IO[str]) -> None:
        """Note what the tool prints, until it ends."""
        for line in lines:
            if line.strip().isdecimal():
                self.seen.append((time.monotonic(), int(line) / 100))


@contextmanager
def watched_utilisation(tool: str = "nvidia-smi") -> Iterator[Utilisation]:
    """Watch the accelerators of this machine by the driver's tool; nothing is seen on a machine without it."""
    found = Utilisation()
    if (path := shutil.which(tool)) is None:
        yield found
        return
    call = [path, *QUERY]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as watcher:
        assert watcher.stdout is not None
        thread = threading.Thread(target=found.read, args=(watcher.stdout,), daemon=True)
        thread.start()
        try:
            yield found
        finally:
            watcher.kill()
            thread.join(STOP_SECONDS)
