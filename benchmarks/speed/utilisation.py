"""How busy an accelerator is, as its driver's tool reports it while something else runs."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from types import TracebackType

import numpy as np

EVERY_MS = 100
QUERY = ("--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", f"--loop-ms={EVERY_MS}")
STOP_SECONDS = 2.0


class Utilisation:
    """Watches the accelerators of this machine; a context manager that works without any, and then knows nothing.

    Args:
        tool: name of the driver's tool.
    """

    def __init__(self, tool: str = "nvidia-smi") -> None:
        self._tool = shutil.which(tool)
        self._seen: list[tuple[float, float]] = []
        self._watcher: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Utilisation:
        if self._tool is not None:
            self._watcher = subprocess.Popen(
                [self._tool, *QUERY], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watcher is not None and self._thread is not None:
            self._watcher.kill()
            self._thread.join(STOP_SECONDS)
            self._watcher.wait(STOP_SECONDS)
            if self._watcher.stdout is not None:
                self._watcher.stdout.close()

    def mean(self, start: float, end: float) -> float | None:
        """Mean share, 0 to 1, between two readings of the monotonic clock; None where nothing was seen."""
        shares = [share for when, share in self._seen if start <= when <= end]
        return float(np.mean(shares)) if shares else None

    def _read(self) -> None:
        assert self._watcher is not None
        assert self._watcher.stdout is not None
        for line in self._watcher.stdout:
            if line.strip().isdecimal():
                self._seen.append((time.monotonic(), int(line) / 100))
