"""Workers: processes that each grade a shard on a device; watched, stopped and replaced by the supervisor.

A worker that dies or hangs loses the stage of the study that it was working on, and its accelerator. The rest of its
shard goes to a device that still works, or to the processor, and continues from its journal.
"""

from __future__ import annotations

import logging
import multiprocessing.connection
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from lumbar_kernel.config import Config
from lumbar_kernel.models.manifest import WAITING
from lumbar_kernel.processes import KILLED_SECONDS, spawn_context
from lumbar_kernel.results.report import Failure
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.devices import CPU
from lumbar_kernel.runtime.fork_server import Fork, ForkedWorker, ForkServer
from lumbar_kernel.runtime.messages import Done, Message, Ready, Shard, Step
from lumbar_kernel.runtime.sharding import shards, studies_to_draw
from lumbar_kernel.runtime.supervision import (
    START_SECONDS,
    STARTING,
    end_with_readers,
    only_study,
    rest_of,
)
from lumbar_kernel.runtime.worker_process import networks_to_share, run_alone, worker_process
from lumbar_kernel.study import StudyFiles

logger = logging.getLogger(__name__)

AHEAD_OF_ACCELERATORS = 2
"""Fewest studies that are read ahead for a worker of an accelerator, so that it need not wait after it has graded."""

MIN_PATIENCE = 0.1

MAX_LOST = 4
"""A stage that has ended or hung this many workers is skipped for all studies."""

GRADING = Fork(load=networks_to_share, entry=worker_process)
"""What the workers of a run share and do."""


@dataclass(eq=False)
class _Worker:
    """One worker as the supervisor sees it."""

    shard: Shard
    process: BaseProcess | ForkedWorker
    receiver: Connection
    heard: float
    step: Step = field(default_factory=lambda: Step(STARTING, (), {}))
    ready: bool = False

    def silent_too_long(self, now: float, limit: float) -> bool:
        """Whether it has been in one stage for longer than the limit."""
        if self.step.stage == WAITING:
            return False
        return now - self.heard > (limit if self.ready else max(limit, START_SECONDS))


class WorkerPool:
    """The workers of a run; a context manager that leaves no process behind.

    Args:
        config: options of the run.
        studies: to be graded, in order.
        devices: one process each.
        budget: of the run; a worker that starts later gets what is left.
        clock: seconds that never run backwards.
        fork: what workers share and do.
        server: loads what they share and forks the first ones, closed by whoever started it; without one each worker
            loads its own.

    Attributes:
        failures: how workers were lost; they belong to no particular study.
    """

    def __init__(
        self,
        config: Config,
        studies: Sequence[StudyFiles],
        devices: Sequence[str],
        budget: Budget,
        *,
        clock: Callable[[], float] = time.monotonic,
        fork: Fork = GRADING,
        server: ForkServer | None = None,
    ) -> None:
        self._fork, self._server = fork, server
        self.failures: list[Failure] = []
        least_ahead = 1 if devices[0] == CPU else AHEAD_OF_ACCELERATORS
        readers, ahead = max(1, config.readers // len(devices)), max(least_ahead, config.ahead // len(devices))
        self._config = replace(config, workers=readers, ahead=ahead)  # shared out, so that memory does not grow
        self._budget, self._clock = budget, clock
        self._free = list(devices)
        self._waiting = shards(studies, devices, drawn=studies_to_draw(config, studies))
        self._running: list[_Worker] = []
        self._unfinished = len(self._waiting)
        self._lost: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()

    def __enter__(self) -> WorkerPool:
        if self._server is not None:
            self._fork_waiting(self._server)
        self._start_waiting()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def busy(self) -> bool:
        """Whether any worker is running or about to start."""
        return bool(self._running or (self._waiting and self._free))

    @property
    def finished(self) -> bool:
        """Whether every shard has come to its end, with whichever worker."""
        return self._unfinished == 0

    @property
    def unfinished(self) -> list[str]:
        """A sentence on each worker that is still running."""
        steps = [(worker.step.stage, ", ".join(worker.step.studies)) for worker in self._running]
        return [f"the time was up in: {stage}{f' of {studies}' if studies else ''}" for stage, studies in steps]

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds per stage so far, summed over all workers."""
        total = Counter(self._seconds)
        for worker in self._running:
            total.update(worker.step.seconds)
        return dict(total)

    def messages(self, seconds: float) -> Iterator[Message]:
        """The messages that arrive within so many seconds; returns after the first batch."""
        self._start_waiting()
        readable = multiprocessing.connection.wait([worker.receiver for worker in self._running], seconds)
        now = self._clock()
        for worker in [item for item in self._running if item.receiver in readable]:
            try:
                message = worker.receiver.recv()
            except (EOFError, OSError):
                self._stop(worker)
                if (code := worker.process.exitcode) is None:
                    self._restart(worker, "ProcessDied", "the process ended with the one that forked it")
                else:
                    self._replace(worker, "ProcessDied", f"the process ended with exit code {code}")
                continue
            worker.heard = now
            if isinstance(message, Step):
                worker.step = message
                continue
            worker.ready = worker.ready or isinstance(message, Ready)
            if isinstance(message, Done):
                worker.step = replace(worker.step, seconds=message.recorder.stages)
                self._unfinished -= 1
                self._stop(worker, patience=0.0)  # its files are closed, and unloading torch takes time
                self._free.append(worker.shard.device)
                self._start_waiting()
            yield message
        for worker in [item for item in self._running if item.silent_too_long(now, self._config.study_seconds)]:
            self._stop(worker, patience=0.0)
            self._replace(worker, "ProcessHung", f"no end after {now - worker.heard:.0f} s, the process was stopped")

    def close(self) -> None:
        """Stop all workers with their readers: first by request, then by force."""
        for worker in self._running:
            worker.process.terminate()
        until = self._clock() + self._patience()
        for worker in list(self._running):
            self._stop(worker, patience=max(0.0, until - self._clock()))

    def _fork_waiting(self, server: ForkServer) -> None:
        """Let the server that loads the networks fork a worker for each free device."""
        shards = self._next_shards()
        pipes = [spawn_context().Pipe(duplex=False) for _ in shards]
        tasks = [(shard, sender) for shard, (_, sender) in zip(shards, pipes, strict=True)]
        workers = server.fork(self._config, tasks)
        for shard, (receiver, _), process in zip(shards, pipes, workers, strict=True):
            self._running.append(_Worker(shard, process, receiver, heard=self._clock()))

    def _start_waiting(self) -> None:
        """Start a worker of its own for each free device; what none can be started for waits for those that run."""
        for shard in self._next_shards():
            try:
                self._running.append(self._start(shard))
            except OSError as error:
                failure = Failure(STARTING, type(error).__name__, f"no worker can be started: {error}")
                if failure not in self.failures:
                    logger.warning("%s: %s", failure.stage, failure.message)
                    self.failures.append(failure)
                self._waiting.append(shard)

    def _start(self, shard: Shard) -> _Worker:
        """A new worker that no server forks; raises OSError where the system starts no process."""
        context = spawn_context()
        receiver, sender = context.Pipe(duplex=False)
        arguments = (self._fork.entry, self._config, shard, self._budget.handed_on(), sender)
        process = context.Process(target=run_alone, args=arguments)
        try:
            process.start()
        except OSError:
            receiver.close()
            raise
        finally:
            sender.close()
        return _Worker(shard, process, receiver, heard=self._clock())

    def _next_shards(self) -> list[Shard]:
        """Waiting shards, each with a free device; neither waits nor is free any more."""
        count = min(len(self._waiting), len(self._free))
        return [replace(self._waiting.pop(0), device=self._free.pop(0)) for _ in range(count)]

    def _patience(self) -> float:
        """Seconds to wait for a worker to exit, fewer when the deadline is near."""
        return min(KILLED_SECONDS, max(MIN_PATIENCE, self._budget.margin() / 4))

    def _stop(self, worker: _Worker, *, patience: float | None = None) -> None:
        """Stop a worker, by force when it does not exit, and free the memory that it shared."""
        self._running.remove(worker)
        self._seconds.update(worker.step.seconds)
        process = worker.process
        process.join(self._patience() if patience is None else patience)
        end_with_readers(process, seconds=self._patience())
        worker.receiver.close()

    def _replace(self, worker: _Worker, kind: str, reason: str) -> None:
        """Record how a worker was lost, and queue the rest of its shard."""
        if worker.process.pid is None:
            self._restart(worker, kind, reason)
            return
        stage, studies = worker.step.stage, worker.step.studies
        text = f"{reason}, on {worker.shard.device}, at {', '.join(studies) or 'no study in particular'}"
        failure = Failure(stage, kind, text)
        logger.warning("%s: %s", stage, text)
        self.failures.append(failure)
        self._lost[stage] += 1
        study = only_study(worker.step)
        without: dict[tuple[str | None, str], Failure] = {} if study is None else {(study, stage): failure}
        too_many = self._lost[stage] >= MAX_LOST
        if self._config.strict or (too_many and (not studies or (None, stage) in worker.shard.given_up)):
            return
        if too_many:
            without[None, stage] = Failure(stage, kind, f"{self._lost[stage]} processes were lost in this stage")
        self._waiting.append(rest_of(worker.shard, without=without))
        if worker.shard.device == CPU or not (self._running or self._free):
            self._free.append(CPU)
        self._start_waiting()

    def _restart(self, worker: _Worker, kind: str, reason: str) -> None:
        """Queue the shard of a worker that was lost with its server: no study's fault, and one loss for all workers."""
        failure = Failure(STARTING, kind, f"{reason}; each worker loads its own networks")
        if kind not in [item.type for item in self.failures]:
            logger.warning("%s: %s", failure.stage, failure.message)
            self.failures.append(failure)
        began = worker.process.pid is not None
        self._waiting.append(replace(worker.shard, resume=worker.shard.resume or began))
        self._free.append(worker.shard.device)
        self._start_waiting()
