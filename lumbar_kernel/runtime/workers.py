"""Grading processes, one per device, that share the studies; watched, ended and replaced from outside.

A process that dies or hangs costs the study that it was at in the stage that it was in, and its device. What is left of
its share goes to a device that still works, or to the processor, and is taken up from its journal.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from lumbar_kernel.config import Config
from lumbar_kernel.results.report import Failure
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.devices import CPU
from lumbar_kernel.runtime.messages import STUDIES_AT_ONCE, WAITING, Done, Message, Ready, Shard, Step
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.shared_memory import SHARED_FOLDER
from lumbar_kernel.study import StudyFiles

logger = logging.getLogger(__name__)

START_SECONDS = 300.0
"""How long a process may take to import torch, wake up its device and load the weights."""

STOP_SECONDS = 3.0
LEAST_PATIENCE = 0.1

MOST_LOST = 4
"""A stage that has ended or hung this many processes is left out for all studies."""

STARTING = "start"
Entry = Callable[[Config, Shard, float | None, Connection], None]

PR_SET_PDEATHSIG = 1
"""Option of Linux's prctl: the signal that a process gets when its parent dies."""


@dataclass(eq=False)
class _Worker:
    """One grading process as seen from outside."""

    share: Shard
    process: BaseProcess
    receiver: Connection
    heard: float
    step: Step = field(default_factory=lambda: Step(STARTING, (), {}))
    ready: bool = False

    def silent_too_long(self, now: float, limit: float) -> bool:
        """Whether it has been in one stage for longer than it may."""
        if self.step.stage == WAITING:
            return False
        return now - self.heard > (limit if self.ready else max(limit, START_SECONDS))


class WorkerPool:
    """The grading processes of a run; a context manager that leaves none behind.

    Args:
        config: options of the run.
        studies: to be graded, in order.
        devices: one process each.
        budget: of the run; a process that starts later has less left.
        clock: seconds that never run backwards.
        entry: what a process runs; takes config, share, seconds (None without limit) and the end of a pipe.

    Attributes:
        failures: what ended processes, of no study in particular.
    """

    def __init__(
        self,
        config: Config,
        studies: Sequence[StudyFiles],
        devices: Sequence[str],
        budget: Budget,
        *,
        clock: Callable[[], float] = time.monotonic,
        entry: Entry | None = None,
    ) -> None:
        self._entry = entry or worker_process
        self.failures: list[Failure] = []
        self._config = replace(config, workers=max(1, config.readers // len(devices)))
        self._budget, self._clock = budget, clock
        self._free = list(devices)
        self._waiting = shards(studies, devices)
        self._running: list[_Worker] = []
        self._lost: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()

    def __enter__(self) -> WorkerPool:
        self._start_waiting()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def busy(self) -> bool:
        """Whether anything is still being graded."""
        return bool(self._running)

    @property
    def unfinished(self) -> list[str]:
        """A sentence on each process that is still at work."""
        steps = [(grader.step.stage, ", ".join(grader.step.studies)) for grader in self._running]
        return [f"the time was up in: {stage}{f' of {studies}' if studies else ''}" for stage, studies in steps]

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds per stage so far, of all processes together."""
        total = Counter(self._seconds)
        for grader in self._running:
            total.update(grader.step.seconds)
        return dict(total)

    def messages(self, seconds: float) -> Iterator[Message]:
        """What the processes tell within so many seconds, waiting for the first of it."""
        readable = multiprocessing.connection.wait([grader.receiver for grader in self._running], seconds)
        now = self._clock()
        for grader in [item for item in self._running if item.receiver in readable]:
            try:
                message = grader.receiver.recv()
            except (EOFError, OSError):
                self._end(grader)
                self._replace(grader, "ProcessDied", f"the process ended with exit code {grader.process.exitcode}")
                continue
            grader.heard = now
            if isinstance(message, Step):
                grader.step = message
                continue
            grader.ready = grader.ready or isinstance(message, Ready)
            if isinstance(message, Done):
                grader.step = replace(grader.step, seconds=message.recorder.stages)
                self._end(grader)
                self._free.append(grader.share.device)
                self._start_waiting()
            yield message
        for grader in [item for item in self._running if item.silent_too_long(now, self._config.study_seconds)]:
            self._end(grader, patience=0.0)
            self._replace(grader, "ProcessHung", f"no end after {now - grader.heard:.0f} s, the process was stopped")

    def close(self) -> None:
        """End all processes with their readers: they are asked to leave, then forced."""
        for grader in self._running:
            grader.process.terminate()
        until = self._clock() + self._patience()
        for grader in list(self._running):
            self._end(grader, patience=max(0.0, until - self._clock()))

    def _start_waiting(self) -> None:
        while self._waiting and self._free:
            self._start(replace(self._waiting.pop(0), device=self._free.pop(0)))

    def _start(self, share: Shard) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy the locks of torch and CUDA
        receiver, sender = context.Pipe(duplex=False)
        seconds = None if self._config.seconds is None else max(0.0, self._budget.margin())
        process = context.Process(target=self._entry, args=(self._config, share, seconds, sender))
        process.start()
        sender.close()
        self._running.append(_Worker(share, process, receiver, heard=self._clock()))

    def _patience(self) -> float:
        """How long an ending process may be waited for, less when the deadline is near."""
        return min(STOP_SECONDS, max(LEAST_PATIENCE, self._budget.margin() / 4))

    def _end(self, grader: _Worker, *, patience: float | None = None) -> None:
        """See a process off, by force when it does not leave, and take back the memory that it shared."""
        self._running.remove(grader)
        self._seconds.update(grader.step.seconds)
        process = grader.process
        process.join(self._patience() if patience is None else patience)
        if process.pid:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # its readers too, which may hang and outlive it
        process.kill()
        process.join(self._patience())  # not without end: a driver may keep even a killed process
        grader.receiver.close()
        for block in SHARED_FOLDER.glob(f"lumbar_{process.pid}_*"):
            block.unlink(missing_ok=True)

    def _replace(self, grader: _Worker, kind: str, reason: str) -> None:
        """Record how a process was lost and hand on what is left of its share."""
        stage, studies = grader.step.stage, grader.step.studies
        text = f"{reason}, on {grader.share.device}, at {', '.join(studies) or 'no study in particular'}"
        failure = Failure(stage, kind, text)
        logger.warning("%s: %s", stage, text)
        self.failures.append(failure)
        self._lost[stage] += 1
        alone = studies[0] if len(studies) == 1 else None
        given_up = dict(grader.share.given_up)
        if alone is not None:
            given_up[alone, stage] = failure
        too_many = self._lost[stage] >= MOST_LOST
        if self._config.strict or (too_many and (not studies or (None, stage) in given_up)):
            return
        if too_many:
            given_up[None, stage] = Failure(stage, kind, f"{self._lost[stage]} processes were lost in this stage")
        self._waiting.append(replace(grader.share, resume=True, careful=True, given_up=given_up))
        if not self._running and not self._free:
            self._free.append(CPU)
        self._start_waiting()


def shards(studies: Sequence[StudyFiles], devices: Sequence[str]) -> list[Shard]:
    """Whole blocks of studies dealt out to the devices in turn; no share is empty."""
    blocks = [studies[start : start + STUDIES_AT_ONCE] for start in range(0, len(studies), STUDIES_AT_ONCE)]
    dealt = [[item for block in blocks[k :: len(devices)] for item in block] for k in range(len(devices))]
    return [Shard(k, tuple(own), device) for k, (own, device) in enumerate(zip(dealt, devices, strict=True)) if own]


def graded(config: Config, share: Shard, budget: Budget, emit: Callable[[Message], None]) -> Done:
    """The pipeline's account of a share; an error that ends it as a whole is in the account."""
    from lumbar_kernel.runtime.pipeline import run  # brings torch

    recorder, outer = Recorder(strict=config.strict), Recorder()
    done = Done(recorder=recorder)
    with outer.guard(None, "grading"):
        done = run(config, share, recorder=recorder, budget=budget, emit=emit)
    for failure in outer.failures(None):
        recorder.add(None, recorder.last or failure)
    return done


def worker_process(config: Config, share: Shard, seconds: float | None, sender: Connection) -> None:
    """Entry of a grading process: tells its messages through the pipe; an error ends it and is told as well."""
    os.setpgid(0, 0)  # so that the supervisor can end it together with its readers
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt reaches the supervisor, which ends this process
    signal.signal(signal.SIGTERM, _leave)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    sender.send(graded(config, share, Budget(seconds, reserve=config.reserve), sender.send))


def _die_with_parent() -> None:
    """Ask Linux to kill this process as soon as the supervisor is gone, so that a restart does not meet it at work.

    Elsewhere the broken pipe ends it at its next message.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _leave(*_: object) -> None:
    """End the process through its context managers, which give shared memory back."""
    sys.exit(0)
