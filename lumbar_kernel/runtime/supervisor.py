"""`predict`: the process that owns clock and file, and finishes the file whatever happens to the workers."""

from __future__ import annotations

import logging
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lumbar_kernel.config import Config
from lumbar_kernel.cpu_count import usable_cpus
from lumbar_kernel.errors import KernelError
from lumbar_kernel.results.report import Failure, Report
from lumbar_kernel.results.submission import write_submission
from lumbar_kernel.results.tables import write_tables
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.devices import PROBE_SECONDS, find_devices
from lumbar_kernel.runtime.folder_lock import lock, opened
from lumbar_kernel.runtime.fork_server import CAN_FORK, ForkServer
from lumbar_kernel.runtime.messages import Message, Progress, Shard
from lumbar_kernel.runtime.outputs import grade_pictures, remove_journals, try_to_write, with_failures, write_page
from lumbar_kernel.runtime.progress import ProgressDisplay
from lumbar_kernel.runtime.run_state import RunState
from lumbar_kernel.runtime.sharding import studies_to_draw, worker_devices
from lumbar_kernel.runtime.worker_process import grade_shard
from lumbar_kernel.runtime.workers import GRADING, WorkerPool
from lumbar_kernel.study import StudyFiles

logger = logging.getLogger(__name__)

PUBLISH_EVERY_SECONDS = 5.0
"""Longest time before new grades are written to the file."""

POLL_SECONDS = 0.5
"""Longest wait for a message before the clocks of run and workers are looked at."""

ENDING_SHARE = 0.7
"""Fraction of the reserve kept for the supervisor's own ending; the rest is for the step that a worker may be in."""

SLOW_START = 3.0
"""The ending gets at least a third of the time that starting and writing the first file took: an overloaded machine is
slow at both. The search between them says nothing of that: a large archive takes long on any machine."""

LOADING_SECONDS = 5.0
"""To import torch and load the networks, which nobody can cut short in this process: 4 s of CPU time. On a busy machine
it took 7 s, which the reserve makes up for."""


def predict(config: Config, *, clock: Callable[[], float] = time.monotonic, started: float | None = None) -> Report:
    """Grade every study in a folder, with a valid `submission.csv` on disk from the first moment.

    Args:
        config: paths and options.
        clock: seconds that never run backwards.
        started: reading of the clock at which the budget began, now when None.

    Returns:
        The report, which is also written beside the submission as `report.json`, with `studies.csv`, `grades.csv` and
        `landmarks.csv`.

    Raises:
        ConfigError: nothing can be graded: a path is wrong, the folder holds no study, or a named device does not work.
        KernelError: a strict run met an unexpected exception; what was graded before is on disk.
    """
    budget = Budget(config.seconds, reserve=config.reserve, clock=clock, started=started)
    config = _without_children(config) if multiprocessing.current_process().daemon else config
    with _loading(config, budget) as server:
        from lumbar_kernel.runtime.study_search import found_studies  # brings pydicom, while the server imports torch

        with found_studies(config, budget) as (studies, state), _held(config.output, state):
            return _grade(config, studies, state, budget, server)


def _without_children(config: Config) -> Config:
    """The options in a daemonic process, such as those of `multiprocessing.Pool`, which may start no processes."""
    if config.workers != 0:
        logger.warning("this process is a daemonic one, which may start no others: it does everything by itself")
    return replace(config, workers=0)


@contextmanager
def _held(output: Path, state: RunState) -> Iterator[None]:
    """Lock the output folder for this run, which ends with its process; where another run holds it, a note says so."""
    with opened(output.resolve()) as handle:
        if handle is not None and lock(handle, wait=False) is False:
            text = f"another run writes into {str(output)!r} too: files of both will be mixed"
            logger.warning("%s", text)
            state.notes.append(text)
        yield


def _loading(config: Config, budget: Budget) -> AbstractContextManager[ForkServer | None]:
    """The server that loads the networks while studies are searched for; None where no worker will be forked."""
    if config.workers == 0 or not CAN_FORK or budget.expired():
        return nullcontext()
    try:
        return ForkServer(GRADING, config, budget.handed_on())
    except OSError as error:  # a limit of processes, say; the workers may be told the same, but first comes a file
        logger.warning("no process could be started that loads the networks: %s", error)
        return nullcontext()


def _grade(
    config: Config, studies: tuple[StudyFiles, ...], state: RunState, budget: Budget, server: ForkServer | None
) -> Report:
    """Grade the studies that were found, and write everything."""
    if config.workers == 0 and not budget.fits(LOADING_SECONDS):
        state.notes.append(f"no time to load the networks: {budget.remaining():.1f} s left")
    elif config.workers == 0:
        _run_in_this_process(config, studies, state, budget)
    elif not budget.expired():
        _run_workers(config, studies, state, budget, server)
    if state.complete:
        state.failures += try_to_write("journals", partial(remove_journals, config))  # of shards that it did not have
    report = _write_report(config, state, budget)
    if config.strict and report.failures:
        msg = f"strict run stopped in {report.failures[0].sentence}"
        raise KernelError(msg)
    return report


def _write_report(config: Config, state: RunState, budget: Budget) -> Report:
    """Write pictures, tables, report and page; what cannot be written becomes a failure of the report returned."""
    unwritten = try_to_write("pictures", partial(grade_pictures, config, state, budget))
    tables = partial(write_tables, state.grades, state.row_members, state.reports, config.output)
    unwritten += try_to_write("grades.csv or landmarks.csv", tables)
    report = with_failures(state.report(config, budget), unwritten)
    unwritten = try_to_write(config.report_path.name, partial(report.write, config.report_path))
    unwritten += try_to_write(config.page_path.name, partial(write_page, config, len(state.grades), budget))
    return with_failures(report, unwritten)


@dataclass(eq=False)
class _Publisher:
    """Writes new grades now and then: the first at once, later ones every few seconds."""

    config: Config
    state: RunState
    budget: Budget
    published: float = -PUBLISH_EVERY_SECONDS

    def publish(self) -> None:
        """Write the present grades; if the disk refuses them, the last good file stays."""
        try:
            write_submission(self.state.grades, self.config.submission_path)
            self.state.unwritten = ()
        except OSError as error:
            logger.warning("%s stays as it was: %s", self.config.submission_path, error)
            self.state.unwritten = (Failure("write submission", type(error).__name__, str(error)),)
        self.state.dirty, self.published = False, self.budget.elapsed()

    def publish_if_due(self) -> None:
        """Write the grades if there are new ones and the last are old enough."""
        if self.state.dirty and self.budget.elapsed() - self.published > PUBLISH_EVERY_SECONDS:
            self.publish()


def _run_in_this_process(config: Config, studies: Sequence[StudyFiles], state: RunState, budget: Budget) -> None:
    """Grade in this process: without protection against hanging stages, but easy to debug."""
    device = _devices(config, state, budget)[0]
    publisher = _Publisher(config, state, budget)
    with _display(config) as display:

        def emit(message: Message) -> None:
            _take(message, state, display)
            publisher.publish_if_due()

        shard = Shard(0, tuple(studies), device, drawn=studies_to_draw(config, studies))
        try:
            done = grade_shard(config, shard, budget, emit)
        except SystemExit as lost:  # how a worker ends whose device no longer works; here nobody takes over
            if not isinstance(lost.code, str):  # but a signal's
                raise
            state.failures.append(Failure("grading", "DeviceLost", str(lost)))
            state.cut_short = True
        else:
            state.take(done)
            state.seconds = done.recorder.stages
        finally:
            publisher.publish()


def _run_workers(
    config: Config, studies: Sequence[StudyFiles], state: RunState, budget: Budget, server: ForkServer | None
) -> None:
    """Grade in workers and write what they report, until all is done or the time is up."""
    publisher = _Publisher(config, state, budget)
    ending = _ending(config, state)
    working = _devices(config, state, budget)
    devices = worker_devices(working, studies=len(studies), cores=usable_cpus())
    with _display(config) as display, WorkerPool(config, studies, devices, budget, server=server) as workers:
        try:
            while workers.busy and (left := budget.margin() - ending) > 0:
                if config.strict and (workers.failures or state.failed):
                    break
                for message in workers.messages(min(POLL_SECONDS, left)):
                    _take(message, state, display)
                publisher.publish_if_due()
        finally:
            publisher.publish()
            state.notes += workers.unfinished
            state.cut_short = not workers.finished
            state.failures += workers.failures
            state.seconds = workers.seconds


def _ending(config: Config, state: RunState) -> float:
    """Seconds before the end at which the workers are stopped."""
    return max(ENDING_SHARE * config.reserve, state.first_file_seconds / SLOW_START)


def _display(config: Config) -> ProgressDisplay:
    return ProgressDisplay(shown=config.progress, seconds_allowed=config.seconds)


def _take(message: Message, state: RunState, display: ProgressDisplay) -> None:
    if isinstance(message, Progress):
        display.take(message)
    else:
        state.take(message)


def _devices(config: Config, state: RunState, budget: Budget) -> tuple[str, ...]:
    """The devices that grade; found ones that do not work are recorded, named ones end the run with a ConfigError."""
    found = find_devices(config.device, seconds=min(PROBE_SECONDS, budget.remaining()))
    if not budget.expired():  # else the probe itself may have had too little time
        found.require(config.device)
    for name, reason in found.broken.items():
        logger.warning("%s does not work and is left out: %s", name, reason)
        state.failures.append(Failure("find devices", "DeviceBroken", f"{name}: {reason}"))
    return found.working
