"""Studies read ahead in reader processes, in order, so that decoding neither waits for grading nor runs far ahead.

Each reader process is served by one thread of this process, which sends it a study, waits for the answer and starts
a new reader when the old one died or took too long; only that one study is lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType

from lumbar_kernel.config import Config
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.runtime.reader_process import ReaderLostError, ReaderProcess, ReadResult, try_read_study
from lumbar_kernel.study import StudyFiles

logger = logging.getLogger(__name__)


MEMORY_PAUSES = (1.0, 3.0, 9.0)
"""Seconds before each retry, when this process lacked the memory to receive a study: grading may use all memory for a
moment."""


class StudyLoader:
    """Iterates over `ReadResult`s in the given order; a context manager that leaves no process or memory behind.

    Args:
        studies: what to read, in order; kept as an attribute.
        workers: reader processes; 0 reads in this process when the next study is requested.
        ahead: studies that may be decoded or in progress beyond the one being consumed.
        timeout: seconds that a reader may spend on a study; None for no limit, without meaning for `workers=0`.
        spare: idle readers, taken from before new ones are started; those that are left in the end are put back.

    Raises:
        ConfigError: a number that cannot work.
    """

    def __init__(
        self,
        studies: Sequence[StudyFiles],
        *,
        workers: int,
        ahead: int,
        timeout: float | None = None,
        spare: list[ReaderProcess] | None = None,
    ) -> None:
        if workers < 0 or ahead < 0 or (timeout is not None and timeout <= 0):
            msg = f"workers {workers} and ahead {ahead} must be 0 or more, timeout {timeout} positive or None"
            raise ConfigError(msg)
        self.studies = tuple(studies)
        self._workers = min(workers, len(self.studies))
        self._ahead = ahead
        self._timeout = timeout
        self._spare = spare
        self._changed = threading.Condition()
        self._results: dict[int, ReadResult] = {}
        self._next = 0  # first study that no thread has taken
        self._consumed = -1  # the study being consumed
        self._serving = 0  # threads that still run
        self._closed = False
        self._processes: set[ReaderProcess] = set()
        self._threads: list[threading.Thread] = []
        self._iterated = False

    @classmethod
    def of(
        cls, config: Config, studies: Sequence[StudyFiles], *, spare: list[ReaderProcess] | None = None
    ) -> StudyLoader:
        """The loader of a run's options."""
        return cls(studies, workers=config.readers, ahead=config.ahead, timeout=config.study_seconds, spare=spare)

    def __enter__(self) -> StudyLoader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[ReadResult]:
        if self._iterated or (self._closed and self._workers):
            msg = "a StudyLoader can be iterated once; make another one"
            raise RuntimeError(msg)
        self._iterated = True
        if self._workers == 0:
            yield from map(try_read_study, self.studies)
            return
        try:
            self.start()
            for index in range(len(self.studies)):
                yield self._result(index)
        finally:
            self.close()

    def close(self) -> None:
        """Stop the workers at once and wait until they are gone; calling it again does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for reader in self._processes:
                reader.process.kill()
        for thread in self._threads:
            thread.join()
        self._results.clear()

    def start(self) -> None:
        """Begin to read before anybody asks; calling it again does nothing, nor does it without reader processes."""
        if self._threads or self._closed:
            return
        with self._changed:  # so that none ends before all are counted
            for _ in range(self._workers):
                thread = threading.Thread(target=self._serve, daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system allows no more of them; those that run read everything
                    if not self._threads:
                        raise
                    return
                self._threads.append(thread)
                self._serving += 1

    def _result(self, index: int) -> ReadResult:
        with self._changed:
            self._consumed = index
            self._changed.notify_all()
            self._changed.wait_for(lambda: index in self._results or self._closed or self._serving == 0)
            return self._results.pop(index, None) or self._unread(index)

    def _take(self) -> int | None:
        """The next study to read once it may be read, None when nothing is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._next <= self._consumed + self._ahead)
            if self._closed or self._next >= len(self.studies):
                return None
            self._next += 1
            return self._next - 1

    def _serve(self) -> None:
        """Body of a thread: feed one reader, and replace it when it is lost."""
        reader: ReaderProcess | None = None
        try:
            while (index := self._take()) is not None:
                result = self._unread(index)
                try:
                    reader, result = self._read(index, reader)
                finally:  # whatever ends this thread, nobody may wait for its study forever
                    with self._changed:
                        self._results[index] = result
                        self._changed.notify_all()
        finally:
            self._put_back(reader)
            with self._changed:
                self._serving -= 1
                self._changed.notify_all()

    def _read(self, index: int, reader: ReaderProcess | None) -> tuple[ReaderProcess | None, ReadResult]:
        """Read a study with a reader, or with a new one; returns the reader that is left, None when it was lost."""
        start, pauses = time.monotonic(), iter(MEMORY_PAUSES)
        while True:
            try:
                reader = reader or self._new_reader()
                return reader, reader.read(self.studies[index], timeout=self._timeout)
            except ReaderLostError as error:
                self._stop(reader)
                reader = None
                retry = error.temporary and self._pause(pauses)
                outcome = "it is read again" if retry else "it is given up"
                logger.warning("study %s: %s; %s", self.studies[index].study_id, error, outcome)
                if not retry:
                    return None, ReadResult(self.studies[index], None, str(error), time.monotonic() - start)

    def _unread(self, index: int) -> ReadResult:
        return ReadResult(self.studies[index], None, "the reader stopped before this study was read", 0.0)

    def _pause(self, pauses: Iterator[float]) -> bool:
        """Wait for the next pause; False when none is left or the loader was closed."""
        with self._changed:
            return (pause := next(pauses, None)) is not None and not self._changed.wait_for(lambda: self._closed, pause)

    def _new_reader(self) -> ReaderProcess:
        """An idle reader that still runs, else one that is started."""
        with self._changed:
            while self._spare and not self._spare[-1].process.is_alive():
                self._spare.pop()
            kept = self._spare.pop() if self._spare else None
        reader = kept or ReaderProcess()
        with self._changed:
            self._processes.add(reader)
            if self._closed:
                reader.process.kill()
        if kept:
            return kept
        try:
            reader.await_ready()
        except ReaderLostError:
            self._stop(reader)
            raise
        return reader

    def _put_back(self, reader: ReaderProcess | None) -> None:
        """Keep an idle reader for another loader, where one may want it."""
        with self._changed:
            if reader is not None and self._spare is not None and not self._closed:
                self._processes.discard(reader)
                self._spare.append(reader)
                return
        self._stop(reader)

    def _stop(self, reader: ReaderProcess | None) -> None:
        if reader is not None:
            with self._changed:
                self._processes.discard(reader)
            reader.stop()
