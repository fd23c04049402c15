"""Faults on purpose, for tests and benchmarks: off unless the environment variable `LUMBAR_FAULTS` is set.

Its value is a list of `stage:kind:study`, parted by semicolons: `localise:hang:44036939;grade axial_t2:nan:*`. Stage
and study are patterns of shell wildcards; the kinds are those of `KINDS` and `nan`. Processes of a run inherit it.
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
    """What a call returns, harmed as the environment asks for this stage and any of these studies."""
    if not (asked := os.environ.get(VARIABLE)):
        return call()
    kinds = _kinds(asked, stage, studies)
    for kind in kinds:
        if kind != NAN:
            KINDS[kind]()
    value = call()
    for array in float_arrays(value) if NAN in kinds else ():
        array[...] = np.nan
    return value


def _kinds(asked: str, stage: str, studies: Sequence[str]) -> list[str]:
    """The kinds of fault meant for this stage and any of these studies; a stage of no study is meant by `*`."""
    faults = [fault.split(":") for fault in asked.split(";")]
    return [
        kind
        for in_stage, kind, of_study in faults
        if fnmatchcase(stage, in_stage) and any(fnmatchcase(study, of_study) for study in studies or ("",))
    ]


def _raise() -> None:
    msg = "on purpose"
    raise RuntimeError(msg)


def _hang() -> None:
    """Stop answering as native code would: not even a polite signal gets through."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    while True:
        signal.pause()


def _exhaust_memory() -> None:
    """Allocate until the limit of this process, set just above what it holds, refuses more."""
    import resource  # not on every system

    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + ROOM_BYTES, before[1]))
    try:
        hoard = []
        while True:
            hoard.append(np.ones(ROOM_BYTES // 16))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _exhaust_accelerator() -> None:
    from torch.cuda import OutOfMemoryError

    msg = "CUDA out of memory, on purpose"
    raise OutOfMemoryError(msg)


def _kill() -> None:
    """End the process as the system does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


KINDS: dict[str, Callable[[], None]] = {
    "raise": _raise,
    "hang": _hang,
    "memory": _exhaust_memory,
    "cuda_memory": _exhaust_accelerator,
    "kill": _kill,
}
"""What can happen before a stage does its work; `nan` spoils every number of what it returns."""
