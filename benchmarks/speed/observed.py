"""A whole run of the command line, observed from outside: seconds, first grades, memory of all its processes."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.whole_runs import command
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_OK

LOOK_EVERY_SECONDS = 0.02
MEMORY_EVERY_SECONDS = 0.25
"""Adding up the memory of the processes takes a hundredth of a second."""


@dataclass(frozen=True)
class ObservedRun:
    """What a run took.

    Attributes:
        seconds: from the start of the process to its end.
        first_file_seconds: until there was a submission.
        start_seconds: until the submission held the first grades.
        peak_mib: most memory of all its processes at one moment, shared pages counted once (PSS), 0 when not asked.
        report: the run's `report.json`.
        usual_mib: the median of that memory from the first grades on, 0 when not asked.
    """

    seconds: float
    first_file_seconds: float
    start_seconds: float
    peak_mib: float
    report: dict[str, Any]
    usual_mib: float = 0.0


def observe(data: Path, out: Path, *options: str, memory: bool = False) -> ObservedRun:
    """Grade a folder with the command line and watch it.

    Args:
        data: folder of studies.
        out: folder for the results, emptied first.
        options: further ones of `lumbar-kernel predict`.
        memory: also add up the memory of the processes, which slows the run a little.

    Raises:
        RuntimeError: the run left no valid submission.
    """
    shutil.rmtree(out, ignore_errors=True)
    began = time.monotonic()
    process = subprocess.Popen(command(data, out, *options))
    submission, prior = out / "submission.csv", b""
    first_file = start = seconds = looked = 0.0
    used: list[tuple[float, float]] = []
    while process.poll() is None:
        seconds = time.monotonic() - began
        if not start and submission.is_file():
            text = submission.read_bytes()
            first_file, prior = first_file or seconds, prior or text
            start = seconds if text != prior else 0.0
        if memory and seconds - looked >= MEMORY_EVERY_SECONDS:
            looked = seconds
            used.append((seconds, sum(map(pss_mib, process_tree(process.pid)))))
        time.sleep(LOOK_EVERY_SECONDS)
    seconds = time.monotonic() - began
    if process.returncode not in (EXIT_OK, EXIT_DEGRADED):
        msg = f"the run ended with exit code {process.returncode}"
        raise RuntimeError(msg)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    start = start or seconds
    peak = max((mib for _, mib in used), default=0.0)
    usual = statistics.median([mib for when, mib in used if when >= start] or [0.0])
    return ObservedRun(seconds, first_file, start, peak, report, usual)


def process_tree(root: int) -> Iterator[int]:
    """Ids of a process and of all that descend from it."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        if fields := _stat_fields(int(path.name)):
            children.setdefault(int(fields[1]), []).append(int(path.name))
    found = [root]
    for process in found:
        found += children.get(process, [])
        yield process


def core_seconds(process: int) -> float:
    """Seconds of the processors that a process has used; 0 when it has ended."""
    fields = _stat_fields(process)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def _stat_fields(process: int) -> list[str]:
    """What the system tells of a process from field 3 of its `stat` (man 5 proc) on, nothing when it has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # the name in field 2 may hold spaces


def pss_mib(process: int) -> float:
    """Memory of a process in MiB, each shared page divided among its users; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
