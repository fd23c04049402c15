"""The index of a large archive: seconds, memory of the driver and of each task, size, and that it resumes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.robustness.scan import write_archive
from benchmarks.speed.observed import process_tree, pss_mib

POLL_SECONDS = 1.0
MEBI = 1 << 20


@dataclass(frozen=True)
class IndexCost:
    """What an index cost.

    Attributes:
        files: of the archive.
        studies: of the index.
        seconds: of the whole command, of all its starts together.
        driver_mib: most memory of the driver (PSS).
        worker_mib: most memory of any process of Ray that ran a task (PSS).
        index_mib: size of the index on disk.
        kept: chunks and parts that were there when the command was killed and were not read again.
        killed_after: seconds after which it was killed, 0 if it was not.
    """

    files: int
    studies: int
    seconds: float
    driver_mib: float
    worker_mib: float
    index_mib: float
    kept: int
    killed_after: float


def measure(folder: Path, *, files: int, kill_after: float = 0.0, cores: int = 2) -> IndexCost:
    """Write an archive of so many files with headers, unless it is there, and index it; kill it once on the way."""
    data, out = folder / f"files_{files}", folder / "out"
    if not data.is_dir():
        write_archive(data, files=files)
    words = ["archive", "index", str(data), "--out", str(out), "--quiet", "--cores", str(cores)]
    command = [sys.executable, "-m", "lumbar_kernel", *words]
    began, peaks, kept = time.monotonic(), [0.0, 0.0], 0
    stamps: dict[str, int] = {}
    if kill_after:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
            _watch(run, peaks, until=began + kill_after)
            os.kill(run.pid, signal.SIGKILL)
        stamps = _stamps(out)
        kept = len(stamps)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None:
            _watch(run, peaks, until=time.monotonic() + POLL_SECONDS)
            if kill_after:
                now = _stamps(out)
                again = [name for name, at in stamps.items() if now.get(name, at) != at]
                kept = min(kept, len(stamps) - len(again))
    seconds = time.monotonic() - began
    if run.returncode:
        msg = f"the command ended with exit code {run.returncode}"
        raise RuntimeError(msg)
    parts = sorted((out / "index" / "studies").glob("*.parquet"))
    studies = sum(len(set(pq.read_table(part, columns=["study_number"]).column(0).to_pylist())) for part in parts)
    size = sum(part.stat().st_size for part in parts)
    return IndexCost(files, studies, seconds, *peaks, size / MEBI, kept, kill_after)


def _stamps(out: Path) -> dict[str, int]:
    """When each file of the passes was written."""
    return {str(path): path.stat().st_mtime_ns for path in out.glob("index/*/*.parquet") if path.exists()}


def _watch(run: subprocess.Popen[bytes], peaks: list[float], *, until: float) -> None:
    while run.poll() is None and time.monotonic() < until:
        tree = [pid for pid in process_tree(run.pid) if pid != run.pid]
        own = {pid: pss_mib(pid) for pid in (run.pid, *filter(_runs_tasks, tree))}
        peaks[0] = max(peaks[0], own.pop(run.pid))
        peaks[1] = max([peaks[1], *own.values()])
        time.sleep(min(POLL_SECONDS, max(0.0, until - time.monotonic())))


def _runs_tasks(pid: int) -> bool:
    """Whether this is a process of Ray that runs tasks."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
    except OSError:
        return False
