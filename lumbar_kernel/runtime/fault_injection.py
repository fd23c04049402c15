"""Injected faults for tests and benchmarks: off unless the environment variable `LUMBAR_FAULTS` is set.

Its value is a list of `stage:kind:study`, separated by semicolons: `localise:hang:44036939;grade axial_t2:nan:*`. Stage
and study are patterns with shell wildcards; kinds are those of `KINDS` and `nan`. The processes of a run inherit it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

import numpy as np

from lumbar_kernel.checks import float_arrays

VARIABLE = "LUMBAR_FAULTS"
NAN = "nan"
ROOM_BYTES = 1 << 26

T = TypeVar("T")


def with_injected_faults(stage: str, studies: Sequence[str], call: Callable[[], T]) -> T:
    """The result of a call, with the faults that the environment requests for this stage and any of these studies."""
    if not (requested := os.environ.get(VARIABLE)):
        return call()
    kinds = _kinds(requested, stage, studies)
    for kind in kinds:
        if kind != NAN:
            KINDS[kind]()
    value = call()
    for array in float_arrays(value) if NAN in kinds else ():
        array[...] = np.nan
    return value


def _kinds(requested: str, stage: str, studies: Sequence[str]) -> list[str]:
    """The kinds of fault requested for this stage and any of these studies; `*` also matches a stage of no study."""
    faults = [fault.split(":") for fault in requested.split(";")]
    return [
        kind
        for stage_pattern, kind, study_pattern in faults
        if fnmatchcase(stage, stage_pattern) and any(fnmatchcase(study, study_pattern) for study in studies or ("",))
    ]


def _raise() -> None:
    msg = "on purpose"
    raise RuntimeError(msg)


def _hang() -> None:
    """Hang as native code would: SIGTERM and SIGINT have no effect."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    while True:
        signal.pause()


def _exhaust_memory() -> None:
    """Allocate until the memory limit of this process, set just above its present use, is reached."""
    import resource  # not on every system

    before = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + ROOM_BYTES, before[1]))
    try:
        blocks = []
        while True:
            blocks.append(np.ones(ROOM_BYTES // 16))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _exhaust_accelerator() -> None:
    from torch.cuda import OutOfMemoryError

    msg = "CUDA out of memory, on purpose"
    raise OutOfMemoryError(msg)


def _kill() -> None:
    """Kill the process as the system does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


KINDS: dict[str, Callable[[], None]] = {
    "raise": _raise,
    "hang": _hang,
    "memory": _exhaust_memory,
    "cuda_memory": _exhaust_accelerator,
    "kill": _kill,
}
"""Faults that happen before a stage does its work; `nan` instead replaces every number that it returns."""
