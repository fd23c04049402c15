"""Reading one study, in this process or in a reader process that is limited in time and memory."""

from __future__ import annotations

import errno
import multiprocessing
import os
import secrets
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import cv2

from lumbar_kernel.checks import require_finite
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.dicom.safe_open import READ_ERRORS
from lumbar_kernel.errors import KernelError
from lumbar_kernel.processes import spawn_context
from lumbar_kernel.runtime.fault_injection import with_injected_faults
from lumbar_kernel.runtime.process_settings import keep_freed_memory
from lumbar_kernel.runtime.shared_memory import discard, pack, unpack
from lumbar_kernel.study import Study, StudyFiles

START_SECONDS = 120.0
"""Time limit for a new reader to import numpy, OpenCV and pydicom, on a busy machine with a cold disk."""

STOP_SECONDS = 5.0

MEMORY_LIMIT = 4 << 30
"""Bytes that a reader may allocate beyond its imports: a study, its packing and the decoder of one file. More raises a
MemoryError for that study, before the system looks for a process to kill."""

KEPT_BLOCK, KEPT_BYTES = 1 << 23, 1 << 24
"""Freed memory that a reader keeps: enough for the slices of a series one after the other."""

STUDY_ERRORS: tuple[type[Exception], ...] = (KernelError, *READ_ERRORS)
"""What damaged or unusual files may raise, which fails their study; anything else is a bug and ends the reader."""


@dataclass(frozen=True, eq=False)
class ReadResult:
    """The outcome of reading one study.

    Attributes:
        files: the files of the study.
        study: the study, None when reading it failed as a whole.
        error: why `study` is None, else None.
        seconds: how long reading took.
    """

    files: StudyFiles
    study: Study | None
    error: str | None
    seconds: float


class ReaderLostError(Exception):
    """A reader died or was stopped; the message gives the reason.

    Args:
        message: for the report.
        temporary: a temporary lack of memory; the study may be read again.
    """

    def __init__(self, message: str, *, temporary: bool = False) -> None:
        super().__init__(message)
        self.temporary = temporary


def try_read_study(files: StudyFiles) -> ReadResult:
    """Read a study in this process; an exception becomes the result's `error`."""
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


class ReaderProcess:
    """One reader process and the pipe to it.

    Args:
        fork: copy this process, which must have one thread, rather than start a new one that imports everything again.
        foreign: pipes of this process that a copy must close, so that they end with their owners.
    """

    def __init__(self, *, fork: bool = False, foreign: Sequence[Connection] = ()) -> None:
        context: Any = multiprocessing.get_context("fork") if fork else spawn_context()
        with ExitStack() as ends:  # closed where no process starts
            try:
                self.pipe, remote_end = (ends.enter_context(end) for end in context.Pipe())
                copied = (self.pipe, *foreign) if fork else ()
                self.process: BaseProcess = context.Process(target=_serve, args=(remote_end, copied), daemon=True)
                self.process.start()
            except (OSError, MemoryError) as error:
                msg = f"no reader process could be started: {error}"
                raise ReaderLostError(msg, temporary=_lacks_memory(error)) from error
            ends.pop_all()
        remote_end.close()

    def await_ready(self) -> None:
        """Wait until the reader has finished its imports, so that they do not count towards a study's time."""
        self._answer(None, START_SECONDS)

    def read(self, files: StudyFiles, *, timeout: float | None) -> ReadResult:
        """Read a study in the reader process.

        Raises:
            ReaderLostError: it died or took longer than `timeout` seconds and cannot be used any more.
        """
        # named here, not by the reader, so that the block of a killed reader can be found and removed
        block_name = f"lumbar_{os.getpid()}_{secrets.token_hex(6)}"
        try:
            result, in_block = self._answer((files, block_name), timeout)
            study = unpack(result.study, block_name) if result.study and in_block else result.study
        except (ReaderLostError, OSError, ValueError, MemoryError) as error:
            self.process.kill()
            self.process.join(STOP_SECONDS)  # a disk or driver that does not answer may keep even a killed process
            discard(block_name)
            msg = str(error) or type(error).__name__
            raise ReaderLostError(msg, temporary=_lacks_memory(error)) from error
        return ReadResult(files, study, result.error, result.seconds)

    def stop(self) -> None:
        """Stop the process, killing it if it does not exit in time."""
        self.pipe.close()
        self.process.join(STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()
            self.process.join(STOP_SECONDS)
        if self.process.exitcode is not None:
            self.process.close()

    def _answer(self, task: tuple[StudyFiles, str] | None, timeout: float | None) -> tuple[ReadResult, bool]:
        try:
            if task is not None:
                self.pipe.send(task)
            if not self.pipe.poll(timeout):
                msg = f"the reader took longer than {timeout:g} s and was stopped"
                raise ReaderLostError(msg)
            answer: tuple[ReadResult, bool] = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join(STOP_SECONDS)
            msg = f"the reader process died (exit code {self.process.exitcode})"
            raise ReaderLostError(msg) from error
        return answer


def forked_readers(count: int, *, foreign: Sequence[Connection]) -> list[ReaderProcess]:
    """Readers that are copies of this process, which must have one thread; fewer when memory is short."""
    readers: list[ReaderProcess] = []
    with suppress(ReaderLostError):
        for _ in range(count):
            reader = ReaderProcess(fork=True, foreign=(*foreign, *(other.pipe for other in readers)))
            try:
                reader.await_ready()
            except ReaderLostError:
                reader.stop()  # else its late greeting would be taken for the answer on a study
                raise
            readers.append(reader)
    return readers


def _lacks_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def _limit_memory() -> None:
    """Make allocations beyond `MEMORY_LIMIT` fail; systems without resource limits run unlimited."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # not on every system

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY_LIMIT
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _serve(pipe: Connection, copied: Sequence[Connection]) -> None:
    """Entry of a reader process: read the studies sent through the pipe until it closes; copied pipes are closed."""
    for other in copied:
        other.close()
    keep_freed_memory(block=KEPT_BLOCK, kept=KEPT_BYTES)  # a copy would keep as much as its origin, which computes
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    cv2.setNumThreads(1)  # parallelism comes from several readers
    _limit_memory()
    pipe.send(None)
    while True:
        try:
            files, block_name = pipe.recv()
        except (EOFError, ConnectionResetError):  # its worker has ended, perhaps killed before it took the last answer
            return
        result = try_read_study(files)
        in_block = False
        if result.study is not None:
            study, in_block = pack(result.study, block_name)
            result = ReadResult(result.files, study, None, result.seconds)
        try:
            pipe.send((result, in_block))
        except BrokenPipeError:
            discard(block_name)
            return
