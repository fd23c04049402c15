"""Progress of a run for people: a bar on a terminal, elsewhere a plain line a pass and every half minute."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

from lumbar_kernel.runtime.messages import Progress

logger = logging.getLogger(__name__)

LINE_EVERY_SECONDS = 30.0
"""Shortest time between two plain lines of the same pass."""


class ProgressDisplay:
    """Shows the progress that workers report; a context manager that ends the bar.

    Args:
        shown: False shows nothing.
        seconds_allowed: budget of the run, None without a limit.
        stream: of the bar, `sys.stderr` when None, which may be closed; a bar is drawn only on a terminal.
        clock: seconds that never run backwards.
    """

    def __init__(
        self,
        *,
        shown: bool,
        seconds_allowed: float | None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shown, self._allowed, self._clock = shown, seconds_allowed, clock
        stream = stream or sys.stderr
        on_terminal = stream is not None and stream.isatty()
        self._shards: dict[int, Progress] = {}
        self._last: tuple[str, float] | None = None
        self._measured = False  # whether any study has been graded, so that the time left is more than a guess
        form = "{desc}: {percentage:3.0f}% {n_fmt} of {total_fmt} studies, {elapsed} gone{postfix}"
        self._bar = tqdm(total=0, file=stream, bar_format=form) if shown and on_terminal else None

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def take(self, progress: Progress) -> None:
        """Show what a worker reports, together with the latest of the others."""
        if not self._shown:
            return
        before = self._shards.get(progress.shard, progress)
        self._measured = self._measured or progress.done > 0 or progress.phase != before.phase
        self._shards[progress.shard] = progress
        same_pass = [item for item in self._shards.values() if item.phase == progress.phase]
        done, studies = sum(item.done for item in same_pass), sum(item.studies for item in same_pass)
        left = max(item.seconds_left for item in self._shards.values())
        if self._bar is not None:
            self._bar.set_description_str(progress.phase, refresh=False)
            self._bar.set_postfix_str(self._time(left) if self._measured else "", refresh=False)
            self._bar.n, self._bar.total = done, studies
            self._bar.refresh()
            return
        if not self._measured:
            return
        now = self._clock()
        if self._last is None or self._last[0] != progress.phase or now - self._last[1] >= LINE_EVERY_SECONDS:
            logger.info("%s: %d of %d studies, %s", progress.phase, done, studies, self._time(left))
            self._last = progress.phase, now

    def _time(self, left: float) -> str:
        allowed = "" if self._allowed is None else f" ({spelled(self._allowed)} allowed)"
        return f"about {spelled(left)} left{allowed}"


def spelled(seconds: float) -> str:
    """A duration in the unit that people use for it: seconds, minutes or hours."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
