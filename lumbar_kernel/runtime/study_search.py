"""The studies of a run, unpacked and searched for, with a first submission on disk that grows with them."""

from __future__ import annotations

import errno
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.config import Config
from lumbar_kernel.dicom.discovery import Scan
from lumbar_kernel.dicom.overrides import read_overrides
from lumbar_kernel.dicom.unpacking import unpacked
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.output_names import STUDIES
from lumbar_kernel.results.report import Failure
from lumbar_kernel.results.submission import write_submission
from lumbar_kernel.results.tables import write_study_table
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.first_grades import (
    earlier_members,
    first_grades,
    first_report,
    previous_grades,
    submission_order,
)
from lumbar_kernel.runtime.outputs import remove_earlier_run, try_to_write
from lumbar_kernel.runtime.run_state import RunState
from lumbar_kernel.study import StudyFiles

logger = logging.getLogger(__name__)

FIRST_SUBMISSION_SECONDS = 0.3
"""Search before the studies found so far are written; later at every doubling, so that writing never takes long."""

SEARCH_SHARE = 0.5
"""Most of the time left that the search for studies may take; the rest is for grading those that it found. Unpacking a
compressed tar may take as much of the time before that."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def found_studies(config: Config, budget: Budget) -> Iterator[tuple[tuple[StudyFiles, ...], RunState]]:
    """The studies of a run, with the roles that the user gives, while what was unpacked for it exists.

    The first submission is on disk, and what an earlier run left beside it is removed.

    Raises:
        ConfigError: there is none, a path or a table is wrong, or no file can be written.
        OSError: the disk is full.
    """
    starting, until = budget.elapsed(), _end_of_search(config, budget)
    overrides = read_overrides(config.roles, config.series)
    with unpacked(config.data, stop=lambda: budget.elapsed() > until) as (data, left_out):
        studies, state = _search(config, data, budget)
        state.first_file_seconds += starting
        if left_out:
            state.failures.append(Failure("find studies", "LeftOut", left_out))
        yield overrides.applied_to(studies), state


def _end_of_search(config: Config, budget: Budget) -> float:
    """When a search that begins now must end, in seconds of the run; without time for anything else it may go on."""
    return math.inf if config.seconds == 0 else budget.elapsed() + SEARCH_SHARE * budget.remaining()


def _search(config: Config, data: Path, budget: Budget) -> tuple[tuple[StudyFiles, ...], RunState]:
    """The studies and the first submission, which is written early and grows while the scan finds more.

    A scan that lasts longer than it may is cut short: the studies known by then are graded.
    """
    scan, previous, until = Scan(data, split=config.split), previous_grades(config), _end_of_search(config, budget)
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
    writing = budget.elapsed()
    _write_first(config, state)
    state.first_file_seconds = budget.elapsed() - writing
    logger.info("a first submission of %d studies is on disk", len(studies))
    if not config.resume:
        state.failures += try_to_write("over earlier files", partial(remove_earlier_run, config, state))
    state.failures += try_to_write(STUDIES, partial(write_study_table, studies, config.output))
    return studies, state


def _first_state(scan: Scan, studies: Sequence[StudyFiles], previous: Mapping[str, FloatArray]) -> RunState:
    grades = first_grades(submission_order(scan.sample, studies), previous)
    members = {key: earlier_members(values) for key, values in grades.items()} if previous else {}
    reports = {key: first_report(key, members.get(key, ())) for key in grades}
    return RunState(grades=grades, reports=reports, row_members=members)


def _write_first(config: Config, state: RunState) -> None:
    """Write the first submission; raises ConfigError where no file can be written, OSError where the disk is full."""
    try:
        config.output.mkdir(parents=True, exist_ok=True)
        write_submission(state.grades, config.submission_path)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        msg = f"output {str(config.output)!r} cannot be written: {error.strerror}; name another folder"
        raise ConfigError(msg) from error
