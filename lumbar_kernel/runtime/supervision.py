"""What is done about a worker that is lost, whoever watches it: end its processes, and say what its shard loses."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import replace
from multiprocessing.process import BaseProcess

from lumbar_kernel.processes import KILLED_SECONDS
from lumbar_kernel.results.report import Failure
from lumbar_kernel.runtime.fork_server import ForkedWorker
from lumbar_kernel.runtime.messages import Shard, Step
from lumbar_kernel.runtime.shared_memory import SHARED_FOLDER

START_SECONDS = 300.0
"""Time limit for a worker to import torch, start its device and load the weights."""

STARTING = "start"


def end_with_readers(process: BaseProcess | ForkedWorker, *, seconds: float = KILLED_SECONDS) -> None:
    """End a worker and its readers, which may hang and outlive it, and free the memory that they share.

    Args:
        process: leads its process group.
        seconds: to wait, since a driver may keep even a killed process.
    """
    if process.pid:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join(seconds)
    for block in SHARED_FOLDER.glob(f"lumbar_{process.pid}_*"):
        block.unlink(missing_ok=True)


def only_study(step: Step) -> str | None:
    """The study that a lost worker was at, None where it was at several or none, so that no one is to blame."""
    return step.studies[0] if len(step.studies) == 1 else None


def rest_of(shard: Shard, *, without: dict[tuple[str | None, str], Failure]) -> Shard:
    """The shard as the next worker gets it: from the journal, studies one at a time.

    Args:
        shard: of the lost worker.
        without: (study, stage) that are not tried any more, besides those that the shard leaves out already; None for
            all studies.
    """
    return replace(shard, resume=True, one_at_a_time=True, given_up={**shard.given_up, **without})
