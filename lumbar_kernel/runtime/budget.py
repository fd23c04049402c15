"""The clock of a run: one absolute deadline, checked before each step, and estimates of what steps cost."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

SAFETY = 1.1
"""A step must fit with a tenth to spare, since durations scatter around their mean."""

LONGEST_START = 10.0
"""More seconds than an interpreter takes to its first imports, on a busy machine with a cold disk."""

IMPORTED = time.monotonic()


class Budget:
    """Seconds that a run may take, counted from its start on a monotonic clock.

    Args:
        seconds: length of the run, None for no limit.
        reserve: seconds before the end that no step may use, kept for the last write.
        clock: returns seconds that never run backwards.
        started: reading of the clock at which the run began, now when None; see `process_started`.
    """

    def __init__(
        self,
        seconds: float | None,
        *,
        reserve: float,
        clock: Callable[[], float] = time.monotonic,
        started: float | None = None,
    ) -> None:
        if reserve < 0 or (seconds is not None and not seconds >= 0):
            msg = f"seconds and reserve must not be negative, not {seconds!r} and {reserve!r}"
            raise ValueError(msg)
        self._clock = clock
        self._started = clock() if started is None else started
        self._seconds = math.inf if seconds is None else seconds
        self._reserve = reserve

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started

    def margin(self) -> float:
        """Seconds to the very end, the reserve included; negative after it, infinite without a limit."""
        return self._seconds - self.elapsed()

    def handed_on(self) -> float | None:
        """The length of another process's budget that ends when this one does: the margin, None without a limit."""
        return None if math.isinf(self._seconds) else max(0.0, self.margin())

    def remaining(self) -> float:
        """Seconds that steps may still use: the margin without the reserve, never below zero."""
        return max(0.0, self.margin() - self._reserve)

    def expired(self) -> bool:
        """Whether nothing is left for steps."""
        return self.remaining() <= 0

    def fits(self, expected_seconds: float) -> bool:
        """Whether a step of this expected length, with a tenth to spare, ends before the reserve begins."""
        return not self.expired() and expected_seconds * SAFETY <= self.remaining()


class Estimate:
    """Expected seconds per unit of work: the mean of a first value, which counts as one unit, and what was measured."""

    def __init__(self, first: float) -> None:
        self._seconds = 0.0
        self._units = 0.0
        self.add(first)

    def add(self, seconds: float, *, units: float = 1.0) -> None:
        """Add a measurement: so many units took so many seconds; raises ValueError for impossible numbers."""
        if not (math.isfinite(seconds) and seconds >= 0 and units > 0):
            msg = f"need finite seconds from 0 for more than 0 units, not {seconds!r} for {units!r}"
            raise ValueError(msg)
        self._seconds += seconds
        self._units += units

    def seconds(self) -> float:
        """Expected seconds for one unit."""
        return self._seconds / self._units


def process_started() -> float:
    """When this process began, as a reading of `time.monotonic`; now where the system does not report it.

    The interpreter and its first imports take a good part of a second, which counts towards the budget. A process may
    be older than its interpreter, such as a shell that waited and then became this one (`sleep 60; exec …`), and an
    interpreter older than its task, such as a notebook's: what did not begin a few seconds ago is no start.
    """
    try:
        # Field 22 of /proc/self/stat, in ticks since boot; the name in field 2 may hold spaces (man 5 proc).
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        age = 0.0
    now = time.monotonic()
    return next((began for began in (now - max(0.0, age), IMPORTED) if now - began <= LONGEST_START), now)
