"""Studies read ahead in worker processes, in order, so that decoding never waits for grading nor runs far ahead.

Each worker process is served by one thread of this process, which hands it a study, waits for the answer and starts
a fresh worker when the old one died or took too long: that costs one study and the others never notice.
"""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

import cv2

from lumbar_kernel.checks import require_finite
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.dicom.safe_open import READ_ERRORS
from lumbar_kernel.errors import ConfigError, KernelError
from lumbar_kernel.runtime.fault_injection import with_injected_faults
from lumbar_kernel.runtime.shared_memory import discard, pack, unpack
from lumbar_kernel.study import Study, StudyFiles

logger = logging.getLogger(__name__)

START_SECONDS = 120.0
"""How long a fresh worker may take to import numpy, OpenCV and pydicom, on a busy machine with a cold disk."""

STOP_SECONDS = 5.0

MEMORY_PAUSES = (1.0, 3.0, 9.0)
"""Seconds before each further try, when this process lacked the memory to take a study over: a stage that grades
may hold all there is for a moment."""

MEMORY_LIMIT = 4 << 30
"""Bytes that a worker may take beyond its imports: a study, its packing and the decoder at work on one file. What asks
for more is refused by name, before the system looks for a process to kill."""

STUDY_ERRORS: tuple[type[Exception], ...] = (KernelError, *READ_ERRORS)
"""What may come of odd files and costs their study; anything else is a bug and ends its worker with a traceback."""


@dataclass(frozen=True, eq=False)
class ReadResult:
    """What came of reading one study.

    Attributes:
        files: what was asked for.
        study: the study, None when reading it failed as a whole.
        error: why `study` is None, else None.
        seconds: how long reading took.
    """

    files: StudyFiles
    study: Study | None
    error: str | None
    seconds: float


class _WorkerLostError(Exception):
    """A worker died or was given up; the message says how.

    Args:
        message: for the report.
        passing: whether nothing was wrong but that this process had no memory just then.
    """

    def __init__(self, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.passing = passing


class StudyLoader:
    """Iterates over `ReadResult`s in the given order; a context manager that leaves no process or memory behind.

    Args:
        studies: what to read.
        workers: processes to decode in; 0 reads in this process when asked for the next study.
        ahead: studies that may be decoded or in work beyond the one being consumed.
        timeout: seconds that a worker may spend on a study; None for no limit, without meaning for `workers=0`.

    Raises:
        ConfigError: a number that cannot work.
    """

    def __init__(
        self, studies: Sequence[StudyFiles], *, workers: int, ahead: int, timeout: float | None = None
    ) -> None:
        if workers < 0 or ahead < 0 or (timeout is not None and timeout <= 0):
            msg = f"workers {workers} and ahead {ahead} must be 0 or more, timeout {timeout} positive or None"
            raise ConfigError(msg)
        self._studies = tuple(studies)
        self._workers = min(workers, len(self._studies))
        self._ahead = ahead
        self._timeout = timeout
        self._changed = threading.Condition()
        self._results: dict[int, ReadResult] = {}
        self._next = 0  # first study that no thread has taken
        self._consumed = -1  # the study being consumed
        self._serving = 0  # threads that still run
        self._closed = False
        self._processes: set[_Worker] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> StudyLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[ReadResult]:
        if self._workers == 0:
            yield from map(read_in_process, self._studies)
            return
        try:
            self._start()
            for index in range(len(self._studies)):
                yield self._result(index)
        finally:
            self.close()

    def close(self) -> None:
        """Stop the workers at once and wait until they are gone; calling it again does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for worker in self._processes:
                worker.process.kill()
        for thread in self._threads:
            thread.join()
        self._results.clear()

    def _start(self) -> None:
        if self._threads or self._closed:
            msg = "a StudyLoader can be iterated once; make another one"
            raise RuntimeError(msg)
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(self._workers)]
        self._serving = self._workers
        for thread in self._threads:
            thread.start()

    def _result(self, index: int) -> ReadResult:
        with self._changed:
            self._consumed = index
            self._changed.notify_all()
            self._changed.wait_for(lambda: index in self._results or self._closed or self._serving == 0)
            never = ReadResult(self._studies[index], None, "the reader stopped before this study was read", 0.0)
            return self._results.pop(index, never)

    def _take(self) -> int | None:
        """The next study to read once it may be read, None when nothing is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._next <= self._consumed + self._ahead)
            if self._closed or self._next >= len(self._studies):
                return None
            self._next += 1
            return self._next - 1

    def _serve(self) -> None:
        """One worker's life as its thread sees it."""
        worker: _Worker | None = None
        try:
            while (index := self._take()) is not None:
                start, pauses, result = time.monotonic(), iter(MEMORY_PAUSES), None
                while result is None:
                    try:
                        worker = worker or self._new_worker()
                        result = worker.read(self._studies[index], timeout=self._timeout)
                    except _WorkerLostError as error:
                        self._end(worker)
                        worker = None
                        again = error.passing and self._pause(pauses)
                        what = "it is read again" if again else "it is given up"
                        logger.warning("study %s: %s; %s", self._studies[index].study_id, error, what)
                        if not again:
                            result = ReadResult(self._studies[index], None, str(error), time.monotonic() - start)
                with self._changed:
                    self._results[index] = result
                    self._changed.notify_all()
        finally:
            self._end(worker)
            with self._changed:
                self._serving -= 1
                self._changed.notify_all()

    def _pause(self, pauses: Iterator[float]) -> bool:
        """Wait for the next of the pauses; False when none is left, or nobody waits for the result any more."""
        with self._changed:
            return (pause := next(pauses, None)) is not None and not self._changed.wait_for(lambda: self._closed, pause)

    def _new_worker(self) -> _Worker:
        worker = _Worker()
        with self._changed:
            self._processes.add(worker)
            if self._closed:
                worker.process.kill()
        try:
            worker.await_ready()
        except _WorkerLostError:
            self._end(worker)
            raise
        return worker

    def _end(self, worker: _Worker | None) -> None:
        if worker is not None:
            with self._changed:
                self._processes.discard(worker)
            worker.stop()


def read_in_process(files: StudyFiles) -> ReadResult:
    """Read a study in this process; what reading raises becomes the result's error."""
    start = time.monotonic()
    try:
        study, error = _finite_study(files), None
    except STUDY_ERRORS as caught:
        study, error = None, f"{type(caught).__name__}: {caught}"
    return ReadResult(files, study, error, time.monotonic() - start)


def _finite_study(files: StudyFiles) -> Study:
    study = with_injected_faults("read", (files.study_id,), lambda: read_study(files))
    require_finite(study)
    return study


class _Worker:
    """One process and the pipe to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy the locks of torch and CUDA
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        try:
            self.process.start()
        except OSError as error:
            self._pipe.close()
            msg = f"no worker process could be started: {error}"
            raise _WorkerLostError(msg, passing=_lacks_memory(error)) from error
        finally:
            theirs.close()

    def await_ready(self) -> None:
        """Wait until the worker has its imports done, so that a study's time is its own."""
        self._answer(None, START_SECONDS)

    def read(self, files: StudyFiles, *, timeout: float | None) -> ReadResult:
        """Have the worker read a study.

        Raises:
            _WorkerLostError: it died or took longer than `timeout` seconds; the worker is of no use any more.
        """
        # named here, not by the worker, so that the block of a killed worker can still be found and removed
        block_name = f"lumbar_{os.getpid()}_{secrets.token_hex(6)}"
        try:
            result, in_block = self._answer((files, block_name), timeout)
            study = unpack(result.study, block_name) if result.study and in_block else result.study
        except (_WorkerLostError, OSError, ValueError, MemoryError) as error:
            self.process.kill()
            self.process.join()
            discard(block_name)
            msg = str(error) or type(error).__name__
            raise _WorkerLostError(msg, passing=_lacks_memory(error)) from error
        return ReadResult(files, study, result.error, result.seconds)

    def stop(self) -> None:
        """Let the process end, by force when it does not."""
        self._pipe.close()
        self.process.join(STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()

    def _answer(self, task: tuple[StudyFiles, str] | None, timeout: float | None) -> tuple[ReadResult, bool]:
        try:
            if task is not None:
                self._pipe.send(task)
            if not self._pipe.poll(timeout):
                msg = f"the worker took longer than {timeout:g} s and was stopped"
                raise _WorkerLostError(msg)
            answer: tuple[ReadResult, bool] = self._pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join(STOP_SECONDS)
            msg = f"the worker process died (exit code {self.process.exitcode})"
            raise _WorkerLostError(msg) from error
        return answer


def _lacks_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def _limit_memory() -> None:
    """Let allocations beyond `MEMORY_LIMIT` fail; where the system does not tell or take a size, there is no limit."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # not on every system

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY_LIMIT
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _work(pipe: Connection) -> None:
    """What a worker process does: read what it is sent until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    cv2.setNumThreads(1)  # the workers are the parallelism
    _limit_memory()
    pipe.send(None)
    while True:
        try:
            files, block_name = pipe.recv()
        except EOFError:
            return
        result = read_in_process(files)
        in_block = False
        if result.study is not None:
            study, in_block = pack(result.study, block_name)
            result = ReadResult(result.files, study, None, result.seconds)
        try:
            pipe.send((result, in_block))
        except BrokenPipeError:
            discard(block_name)
            return
