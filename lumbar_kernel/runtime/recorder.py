"""Failures and seconds of a run in progress, and the one guard."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from lumbar_kernel.results.report import Failure

logger = logging.getLogger(__name__)


class Recorder:
    """Collects failures and seconds during a run, in one thread.

    Args:
        strict: let exceptions through the guard after recording them.
        clock: returns seconds that never run backwards.

    Attributes:
        fatal: the failure that ended a strict run, with the study in its message.
    """

    def __init__(self, *, strict: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._strict = strict
        self._clock = clock
        self._failures: dict[str | None, list[Failure]] = {}
        self.fatal: Failure | None = None
        self._stages: dict[str, float] = {}

    @contextmanager
    def guard(self, study_id: str | None, stage: str, *, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Confine an exception of one stage to one study (None: to no particular study): record it and continue.

        Exceptions of the `passing` types are left to the caller.
        This is the only broad `except` of the package. An interrupt or a request to exit passes through.
        """
        try:
            yield
        except passing:
            raise
        except Exception as error:
            logger.exception("%s failed in %s", "run" if study_id is None else f"study {study_id}", stage)
            self.note(study_id, stage, error)
            if self._strict:
                failure = self._failures[study_id][-1]
                self.fatal = replace(failure, message=f"study {study_id}: {failure.message}") if study_id else failure
                raise

    def note(self, study_id: str | None, stage: str, error: BaseException) -> None:
        """Record an exception that was handled elsewhere."""
        self.add(study_id, Failure(stage=stage, type=type(error).__name__, message=str(error)))

    def add(self, study_id: str | None, failure: Failure) -> None:
        """Record a failure."""
        self._failures.setdefault(study_id, []).append(failure)

    def failures(self, study_id: str | None) -> tuple[Failure, ...]:
        """Failures of a study, or of no particular study, in order."""
        return tuple(self._failures.get(study_id, ()))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the seconds spent inside to a stage, also when it raises."""
        began = self._clock()
        try:
            yield
        finally:
            self._stages[stage] = self._stages.get(stage, 0.0) + self._clock() - began

    @property
    def stages(self) -> dict[str, float]:
        """Seconds per stage so far, in the order in which the stages first ended."""
        return dict(self._stages)
