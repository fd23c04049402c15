"""The commands of a recipe: run in order, shared among GPUs, and skipped where they and all before them are done."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from queue import SimpleQueue

from lumbar_kernel.results.atomic import write_atomic
from training.examples import layout

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """One command of a recipe.

    Attributes:
        name: unique; steps of one `group` may run at the same time.
        arguments: of the Python interpreter.
        group: steps of equal group do not need each other, but all steps of the groups before.
        seconds: expected, 0 where that is not known.
        machine: further arguments, which change how fast it runs and not what it makes.
        tables: files that it reads; it runs again when what they hold has changed.
        counts: of what else it reads, in words; it runs again when there is more or less of it.
    """

    name: str
    arguments: tuple[str, ...]
    group: str
    seconds: float = 0.0
    machine: tuple[str, ...] = ()
    tables: tuple[Path, ...] = ()
    counts: tuple[str, ...] = ()


class Runner:
    """Runs the steps that are not done, and remembers which are.

    A step is done when it was finished with the same arguments, tables and counts after the same steps. One that runs,
    or has left the recipe, makes all steps of later groups run again.

    Args:
        done: folder with a file for each finished step, which names its arguments and those of the steps before.
        gpus: names of the GPUs, among which steps of one group are shared; empty to run them one after the other.
    """

    def __init__(self, done: Path, gpus: Sequence[str]) -> None:
        self.done, self.gpus = done, tuple(gpus)
        done.mkdir(parents=True, exist_ok=True)

    def waiting(self, recipe: Sequence[Step]) -> list[Step]:
        """The steps that have to run."""
        return self._waiting(recipe, _keys(recipe))

    def _waiting(self, recipe: Sequence[Step], keys: Mapping[Step, str]) -> list[Step]:
        found: list[Step] = []
        for group in _groups(recipe):
            found += [step for step in group if not self._is_done(step, keys[step])] if not found else group
        return found

    def run(self, recipe: Sequence[Step]) -> None:
        """Run all steps that are not done; raises SystemExit, which names the command, for the first that fails."""
        keys = _keys(recipe)
        not_done = self._waiting(recipe, keys)
        for step in not_done:  # else one that an interruption keeps from running would still count as done
            self._record(step).unlink(missing_ok=True)
        began, expected = time.monotonic(), sum(step.seconds for step in not_done)
        for number, group in enumerate(_groups(recipe)):
            waiting = {step: keys[step] for step in group if step in not_done}
            for step in group:
                if step not in waiting:
                    logger.info("%s: done before", step.name)
            if not waiting:
                continue
            left = max(0.0, expected - (time.monotonic() - began))
            names = ", ".join(step.name for step in waiting)
            logger.info("step %d: %s%s", number + 1, names, f"; about {duration(left)} left in all" if left else "")
            self._run_group(waiting)

    def _is_done(self, step: Step, key: str) -> bool:
        record = self._record(step)
        return record.is_file() and record.read_text() == _done(step, key)

    def _run_group(self, group: Mapping[Step, str]) -> None:
        free: SimpleQueue[str | None] = SimpleQueue()
        for gpu in self.gpus or (None,):
            free.put(gpu)

        def run(step: Step) -> None:
            gpu = free.get()
            try:
                chosen = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
                command = [sys.executable, *step.arguments, *step.machine]
                status = subprocess.run(command, env=os.environ | chosen).returncode
            finally:
                free.put(gpu)
            if status:
                typed = shlex.join(["python", *command[1:]])
                raise SystemExit(
                    f"{step.name} failed with exit status {status}; run the recipe again to continue: {typed}"
                )
            write_atomic(_done(step, group[step]), self._record(step))

        with ThreadPoolExecutor(max(1, len(self.gpus))) as pool:
            list(pool.map(run, group))

    def _record(self, step: Step) -> Path:
        return self.done / f"{step.name.replace(' ', '_')}.json"


def _done(step: Step, key: str) -> str:
    """What the record of a finished step holds."""
    return json.dumps({"arguments": list(step.arguments), "key": key}) + "\n"


def _keys(recipe: Sequence[Step]) -> dict[Step, str]:
    """Step → a hash of what makes it this one, of the steps of all groups before it, and of the examples' layout."""
    keys: dict[Step, str] = {}
    checksums = {path: _checksum(path) for path in {path for step in recipe for path in step.tables}}  # each read once
    before = layout()
    for group in _groups(recipe):
        own = {
            step: _digest(before, step.name, *step.arguments, *(checksums[path] for path in step.tables), *step.counts)
            for step in group
        }
        keys |= own
        before = _digest(before, *own.values())
    return keys


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _checksum(table: Path) -> str:
    return hashlib.sha256(table.read_bytes()).hexdigest()


def _groups(recipe: Iterable[Step]) -> Iterator[list[Step]]:
    """Neighbouring steps that do not need each other."""
    return (list(steps) for _, steps in groupby(recipe, key=lambda step: step.group))


def duration(seconds: float) -> str:
    """Hours and minutes."""
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
