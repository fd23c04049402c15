"""`predict`: the process that owns clock and file, and finishes the file whatever happens to the workers."""

from __future__ import annotations

import errno
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel import __version__
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.config import Config
from lumbar_kernel.dicom.discovery import Scan
from lumbar_kernel.dicom.overrides import read_overrides
from lumbar_kernel.dicom.unpacking import unpacked
from lumbar_kernel.errors import ConfigError, KernelError
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_GRADED, Failure, Report, StudyReport
from lumbar_kernel.results.submission import write_submission
from lumbar_kernel.results.tables import write_study_table, write_tables
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.devices import (
    PROBE_SECONDS,
    find_devices,
    processor_cores,
    worker_devices,
)
from lumbar_kernel.runtime.first_grades import first_grades, previous_grades, submission_order
from lumbar_kernel.runtime.messages import Done, Message, Note, Progress, Ready, Shard, Update, studies_at_once
from lumbar_kernel.runtime.outputs import grade_pictures, try_to_write, with_failures, write_page
from lumbar_kernel.runtime.progress import ProgressDisplay
from lumbar_kernel.runtime.workers import WorkerPool, grade_shard, pictured
from lumbar_kernel.schema import ROWS
from lumbar_kernel.study import StudyFiles

logger = logging.getLogger(__name__)

PUBLISH_EVERY_SECONDS = 5.0
"""Longest time before new grades are written to the file."""

FIRST_SUBMISSION_SECONDS = 0.3
"""Search before the studies found so far are written; later at every doubling, so that writing never takes long."""

SCAN_SHARE = 0.5
"""Most of the time that the search for studies may take; the rest is for grading those that it found."""

POLL_SECONDS = 0.5

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

ENDING_SHARE = 0.7
"""Fraction of the reserve kept for the supervisor's own ending; the rest is for the step that a worker may be in."""

SLOW_START = 3.0
"""The ending gets at least a third of the time that the first file took: an overloaded machine is slow at both."""


@dataclass(eq=False)
class _State:
    """What the workers have reported so far, and how they ended."""

    grades: dict[str, FloatArray]
    reports: dict[str, StudyReport]
    row_members: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    ready: list[Ready] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    unwritten: tuple[Failure, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    dirty: bool = False
    cut_short: bool = False

    @property
    def graded(self) -> dict[str, NDArray[np.bool_]]:
        """Study id → (25,) whether a member graded the row."""
        return {key: np.array([bool(names) for names in members]) for key, members in self.row_members.items()}

    @property
    def failed(self) -> tuple[Failure, ...]:
        """Failures of finished workers that belong to no particular study."""
        return tuple(failure for done in self.done for failure in done.recorder.failures(None))

    def take(self, message: Message) -> None:
        """Store one message."""
        if isinstance(message, Update):
            self.grades[message.report.study_id] = message.grades
            self.row_members[message.report.study_id] = message.row_members
            self.reports[message.report.study_id] = message.report
            self.dirty = True
        elif isinstance(message, Ready):
            self.ready.append(message)
        elif isinstance(message, Note):
            self.notes.append(message.text)
        elif isinstance(message, Done):
            self.done.append(message)


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
    overrides = read_overrides(config.roles, config.series)
    most = math.inf if config.seconds == 0 else budget.elapsed() + SCAN_SHARE * budget.remaining()
    with unpacked(config.data, stop=lambda: budget.elapsed() > most) as (data, left_out):
        found, state = _find_studies(config, data, budget, until=most)
        studies = overrides.applied_to(found)
        if left_out:
            state.failures.append(Failure("find studies", "LeftOut", left_out))
        return _grade(config, studies, state, budget)


def _grade(config: Config, studies: tuple[StudyFiles, ...], state: _State, budget: Budget) -> Report:
    """Grade the studies that were found, and write everything."""
    if config.workers == 0:
        _run_in_this_process(config, studies, state, budget)
    elif not budget.expired():
        _run_workers(config, studies, state, budget)
    _publish(config, state)
    report = _write_report(config, state, budget)
    if config.strict and report.failures:
        first = report.failures[0]
        msg = f"strict run stopped in {first.stage}: {first.type}: {first.message}"
        raise KernelError(msg)
    return report


def _find_studies(config: Config, data: Path, budget: Budget, *, until: float) -> tuple[tuple[StudyFiles, ...], _State]:
    """The studies of a run and its first submission, which is written early and grows while the scan finds more.

    A scan that lasts longer than it may is cut short: the studies known by then are graded.
    """
    scan, previous = Scan(data, split=config.split), previous_grades(config)
    began = budget.elapsed()
    write_at = began + FIRST_SUBMISSION_SECONDS
    for _ in scan:
        if (now := budget.elapsed()) > min(write_at, until) and (known := scan.known_studies()):
            if now > until:
                break
            _write_first(config, _first_state(scan, known, previous))
            write_at = began + 2 * (budget.elapsed() - began)
            logger.info("a first submission of %d studies is on disk, the search for more goes on", len(known))
    studies = scan.studies()
    if not studies:
        msg = f"no study found in {str(config.data)!r}; it must hold DICOM files or {config.split}_images/"
        raise ConfigError(msg)
    state = _first_state(scan, studies, previous)
    state.notes += scan.notes
    if not scan.complete:
        text = f"the time was up; not searched to the end: {scan.rest}"
        logger.warning("%s", text)
        state.failures.append(Failure("find studies", "TimeUp", text))
    _write_first(config, state)
    logger.info("a first submission of %d studies is on disk", len(studies))
    state.failures += try_to_write("studies.csv", partial(write_study_table, studies, config.output))
    return studies, state


def _first_state(scan: Scan, studies: Sequence[StudyFiles], previous: Mapping[str, FloatArray]) -> _State:
    return _State(
        grades=first_grades(submission_order(scan.sample, studies), previous),
        reports={item.study_id: StudyReport(study_id=item.study_id) for item in studies},
    )


def _write_first(config: Config, state: _State) -> None:
    """Write the first submission; raises ConfigError where no file can be written, OSError where the disk is full."""
    try:
        config.output.mkdir(parents=True, exist_ok=True)
        write_submission(state.grades, config.submission_path)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        msg = f"output {str(config.output)!r} cannot be written: {error.strerror}; name another folder"
        raise ConfigError(msg) from error


def _write_report(config: Config, state: _State, budget: Budget) -> Report:
    """Write pictures, tables, report and page; what cannot be written becomes a failure of the report returned."""
    unwritten = try_to_write("pictures", lambda: _grade_pictures(config, state, budget))
    tables = partial(write_tables, state.grades, state.row_members, state.reports, config.output)
    unwritten += try_to_write("grades.csv or landmarks.csv", tables)
    report = with_failures(_report(config, state, budget), unwritten)
    unwritten = try_to_write(config.report_path.name, partial(report.write, config.report_path))
    unwritten += try_to_write(config.page_path.name, partial(write_page, config, len(state.grades), budget))
    return with_failures(report, unwritten)


def _grade_pictures(config: Config, state: _State, budget: Budget) -> None:
    if shortage := grade_pictures(config, state.grades, state.graded, budget):
        state.notes.append(shortage)


def _publish(config: Config, state: _State) -> None:
    """Write the present grades; if the disk refuses them, the last good file stays."""
    try:
        write_submission(state.grades, config.submission_path)
        state.unwritten = ()
    except OSError as error:
        logger.warning("%s stays as it was: %s", config.submission_path, error)
        state.unwritten = (Failure("write submission", type(error).__name__, str(error)),)


def _run_in_this_process(config: Config, studies: Sequence[StudyFiles], state: _State, budget: Budget) -> None:
    """Grade in this process: without protection against hanging stages, but easy to debug."""
    device = _devices(config, state, budget)[0]
    with _display(config) as display:

        def emit(message: Message) -> None:
            _take(message, state, display)

        shard = Shard(0, tuple(studies), device, pictured=pictured(config, studies))
        state.take(grade_shard(config, shard, budget, emit))
    state.seconds = state.done[0].recorder.stages


def _run_workers(config: Config, studies: Sequence[StudyFiles], state: _State, budget: Budget) -> None:
    """Grade in workers and write what they report, until all is done or the time is up."""
    published = -PUBLISH_EVERY_SECONDS  # the first grades are written at once
    ending = max(ENDING_SHARE * config.reserve, budget.elapsed() / SLOW_START)
    working = _devices(config, state, budget)
    blocks = math.ceil(len(studies) / studies_at_once(working[0]))
    devices = worker_devices(working, blocks=blocks, cores=processor_cores())
    with (
        _display(config) as display,
        WorkerPool(config, studies, devices, budget) as workers,
    ):
        try:
            while workers.busy and (left := budget.margin() - ending) > 0:
                if config.strict and (workers.failures or state.failed):
                    break
                for message in workers.messages(min(POLL_SECONDS, left)):
                    _take(message, state, display)
                if state.dirty and budget.elapsed() - published > PUBLISH_EVERY_SECONDS:
                    _publish(config, state)
                    state.dirty, published = False, budget.elapsed()
        finally:
            _publish(config, state)
            state.notes += workers.unfinished
            state.cut_short = workers.busy
            state.failures += workers.failures
            state.seconds = workers.seconds


def _display(config: Config) -> ProgressDisplay:
    return ProgressDisplay(shown=config.progress, seconds_allowed=config.seconds)


def _take(message: Message, state: _State, display: ProgressDisplay) -> None:
    if isinstance(message, Progress):
        display.take(message)
    else:
        state.take(message)


def _devices(config: Config, state: _State, budget: Budget) -> tuple[str, ...]:
    """The devices that grade; found ones that do not work are recorded, named ones end the run with a ConfigError."""
    found = find_devices(config.device, seconds=min(PROBE_SECONDS, budget.remaining()))
    if not budget.expired():  # else the probe itself may have had too little time
        found.require(config.device)
    for name, reason in found.broken.items():
        logger.warning("%s does not work and is left out: %s", name, reason)
        state.failures.append(Failure("find devices", "DeviceBroken", f"{name}: {reason}"))
    return found.working


def _report(config: Config, state: _State, budget: Budget) -> Report:
    """The report of the run, with its exit code."""
    studies = tuple(state.reports[study_id] for study_id in state.grades)
    failures = (*state.failures, *state.unwritten, *state.failed)
    reported = [*(item.members_failed for item in state.ready), *(item.members_failed for item in state.done)]
    failed = {name: reason for members in reported for name, reason in members.items()}
    whole = all(item.graded_rows == len(ROWS) and not item.failures for item in studies)
    complete = bool(state.done) and all(done.complete for done in state.done) and not state.cut_short
    first, *others = [done.members for done in state.done] or [()]
    return Report(
        version=__version__,
        weights_sha256=state.ready[0].weights_sha256 if state.ready else "",
        device=", ".join(dict.fromkeys(message.device for message in state.ready)) or "none",
        studies=studies,
        stages={name: round(value, 3) for name, value in state.seconds.items()},
        members=() if state.cut_short else tuple(name for name in first if all(name in other for other in others)),
        members_failed=failed,
        failures=failures,
        plan=tuple(dict.fromkeys(state.notes)),
        seconds=budget.elapsed(),
        budget_seconds=config.seconds,
        margin_seconds=None if config.seconds is None else budget.margin(),
        exit_code=EXIT_GRADED if whole and complete and not failures and not failed else EXIT_DEGRADED,
    )
