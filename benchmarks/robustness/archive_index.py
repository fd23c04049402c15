"""The index of a large archive: seconds, memory of the driver and of each task, size, and that it resumes."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.robustness.scan import write_archive
from benchmarks.speed.observed import core_seconds, process_tree, pss_mib

POLL_SECONDS = 1.0
MEBI = 1 << 20


@dataclass(frozen=True)
class IndexCost:
    """What an index cost.

    Attributes:
        files: of the archive.
        studies: of the index.
        seconds: of the whole command, of all its starts together.
        core_seconds: of the processors, of all its processes, as far as they were seen.
        driver_mib: most memory of the driver (PSS).
        worker_mib: most memory of any process of Ray that ran a task (PSS).
        index_mib: size of the index on disk.
        kept: chunks and parts that were there when the command was killed and were not read again.
        killed_after: seconds after which it was killed, 0 if it was not.
    """

    files: int
    studies: int
    seconds: float
    core_seconds: float
    driver_mib: float
    worker_mib: float
    index_mib: float
    kept: int
    killed_after: float


def measure(folder: Path, *, files: int, kill_after: float = 0.0) -> IndexCost:
    """Write an archive of so many files with headers and index it; kill the index once on the way."""
    data, out = folder / f"files_{files}", folder / "out"
    write_archive(data, files=files)
    words = ["archive", "index", str(data), "--out", str(out), "--quiet", "--cores", "2"]
    command = [sys.executable, "-m", "lumbar_kernel", *words]
    began, watched = time.monotonic(), Watched()
    stamps: dict[str, int] = {}
    if kill_after:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
            watched.watch(run, until=began + kill_after)
            run.kill()
        stamps = _stamps(out)
    kept = len(stamps)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None:
            watched.watch(run, until=time.monotonic() + POLL_SECONDS)
            if stamps:
                now = _stamps(out)
                kept = min(kept, sum(now.get(name, at) == at for name, at in stamps.items()))
    seconds = time.monotonic() - began
    if run.returncode:
        msg = f"the command ended with exit code {run.returncode}"
        raise RuntimeError(msg)
    parts = sorted((out / "index" / "studies").glob("*.parquet"))
    studies = sum(len(set(pq.read_table(part, columns=["study_number"]).column(0).to_pylist())) for part in parts)
    size = sum(part.stat().st_size for part in parts)
    return IndexCost(
        files,
        studies,
        seconds,
        sum(watched.core_seconds.values()),
        watched.driver_mib,
        watched.worker_mib,
        size / MEBI,
        kept,
        kill_after,
    )


def _stamps(out: Path) -> dict[str, int]:
    """When each file of the passes was written."""
    return {str(path): path.stat().st_mtime_ns for path in out.glob("index/*/*.parquet") if path.exists()}


@dataclass(eq=False)
class Watched:
    """What was seen of the processes of a command: most memory of the driver and of a task, and seconds of cores."""

    driver_mib: float = 0.0
    worker_mib: float = 0.0
    core_seconds: dict[int, float] = field(default_factory=dict)

    def watch(self, run: subprocess.Popen[bytes], *, until: float) -> None:
        """Look at the processes every second, until they end or a reading of the clock."""
        while run.poll() is None and time.monotonic() < until:
            for pid in process_tree(run.pid):
                self.core_seconds[pid] = max(self.core_seconds.get(pid, 0.0), core_seconds(pid))
                if pid == run.pid:
                    self.driver_mib = max(self.driver_mib, pss_mib(pid))
                elif _runs_tasks(pid):
                    self.worker_mib = max(self.worker_mib, pss_mib(pid))
            time.sleep(min(POLL_SECONDS, max(0.0, until - time.monotonic())))


def _runs_tasks(pid: int) -> bool:
    """Whether this is a process of Ray that runs tasks."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
    except OSError:
        return False
