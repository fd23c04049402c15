"""The commands of a recipe: run in order, shared among GPUs, and skipped where they are done."""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """One command of a recipe.

    Attributes:
        name: unique; steps of one `group` may run at the same time.
        arguments: of the Python interpreter.
        group: steps of equal group do not need each other.
        seconds: expected, 0 where that is not known.
    """

    name: str
    arguments: tuple[str, ...]
    group: str
    seconds: float = 0.0


class Runner:
    """Runs the steps that are not done, and remembers which are.

    Args:
        done: folder with a file for each finished step, which holds its arguments.
        gpus: names of the GPUs, among which steps of one group are shared; empty to run them one after the other.
    """

    def __init__(self, done: Path, gpus: Sequence[str]) -> None:
        self.done, self.gpus = done, tuple(gpus)
        done.mkdir(parents=True, exist_ok=True)

    def is_done(self, step: Step) -> bool:
        """Whether the step was finished with the same arguments."""
        record = self._record(step)
        return record.is_file() and json.loads(record.read_text()) == list(step.arguments)

    def run(self, recipe: Sequence[Step]) -> None:
        """Run all steps; raises SystemExit, which names the command, for the first that fails."""
        began, expected = time.monotonic(), sum(step.seconds for step in recipe if not self.is_done(step))
        for number, group in enumerate(_groups(recipe)):
            waiting = [step for step in group if not self.is_done(step)]
            for step in group:
                if step not in waiting:
                    logger.info("%s: done before", step.name)
            if not waiting:
                continue
            left = max(0.0, expected - (time.monotonic() - began))
            names = ", ".join(step.name for step in waiting)
            logger.info("step %d: %s%s", number + 1, names, f"; about {duration(left)} left in all" if left else "")
            self._run_group(waiting)

    def _run_group(self, group: Sequence[Step]) -> None:
        free: SimpleQueue[str | None] = SimpleQueue()
        for gpu in self.gpus or (None,):
            free.put(gpu)

        def run(step: Step) -> None:
            gpu = free.get()
            try:
                chosen = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
                status = subprocess.run([sys.executable, *step.arguments], env=os.environ | chosen).returncode
            finally:
                free.put(gpu)
            if status:
                command = shlex.join(["python", *step.arguments])
                raise SystemExit(
                    f"{step.name} failed with exit status {status}; run the recipe again to continue: {command}"
                )
            self._record(step).write_text(json.dumps(list(step.arguments)) + "\n")

        with ThreadPoolExecutor(max(1, len(self.gpus))) as pool:
            list(pool.map(run, group))

    def _record(self, step: Step) -> Path:
        return self.done / f"{step.name.replace(' ', '_')}.json"


def _groups(recipe: Iterable[Step]) -> Iterator[list[Step]]:
    """Runs of steps that do not need each other."""
    group: list[Step] = []
    for step in recipe:
        if group and step.group != group[0].group:
            yield group
            group = []
        group.append(step)
    if group:
        yield group


def duration(seconds: float) -> str:
    """Hours and minutes."""
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
