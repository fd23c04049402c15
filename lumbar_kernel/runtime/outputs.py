"""Files besides the submission: those of an earlier run, removed; those written at the end, while there is time.

None of it may cost the grades.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np

from lumbar_kernel.config import Config
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.output_names import GRADES, LANDMARKS, STRUCTURED_REPORTS, STUDIES
from lumbar_kernel.results.report import EXIT_DEGRADED, Failure, Report
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.run_state import RunState
from lumbar_kernel.schema import ROWS

logger = logging.getLogger(__name__)

PAGE_SHARE = 0.3
"""Fraction of the reserve that pictures leave for the tables, the report and the page."""

PAGE_SECONDS_PER_STUDY = 0.02
"""Twice what the page of 700 studies with pictures took on a busy core (0.0105 s a study, mostly thumbnails)."""


def try_to_write(name: str, write: Callable[[], object]) -> tuple[Failure, ...]:
    """Write something; returns a failure where that is not possible, were it by a fault of this package."""
    stage, recorder = f"write {name}", Recorder()
    try:
        with recorder.guard(None, stage, passing=(OSError, ConfigError)):
            write()
    except (OSError, ConfigError) as error:
        logger.warning("%s cannot be written: %s", name, error)
        recorder.note(None, stage, error)
    return recorder.failures(None)


def with_failures(report: Report, failures: tuple[Failure, ...]) -> Report:
    """The report with failures that came after it."""
    if not failures:
        return report
    return replace(report, failures=(*report.failures, *failures), exit_code=EXIT_DEGRADED)


def remove_earlier_run(config: Config, state: RunState) -> None:
    """Remove what an earlier run left beside the submission that this one has replaced; a note says what stays.

    Only files of the package: report, page, tables, journals, and pictures of the studies of this run or of those in
    `studies.csv`, which is still the earlier run's.

    Raises:
        OSError: a file cannot be removed.
    """
    files = [config.report_path, config.page_path, *(config.output / name for name in (GRADES, LANDMARKS))]
    if config.pictures_path.is_dir():
        from lumbar_kernel.results.pictures import picture_path  # only where there are some

        drawn = {*state.grades, *_studies_of_earlier_run(config)}
        files += [picture_path(config.pictures_path, study_id) for study_id in drawn]
    for path in files:
        if path.is_file():
            path.unlink()
    remove_journals(config)
    if (config.output / STRUCTURED_REPORTS).is_dir():
        state.notes.append(f"{STRUCTURED_REPORTS}/ is of an earlier run; `lumbar-kernel sr` writes that of this one")


def remove_journals(config: Config) -> None:
    """Remove the journals in the output folder, from which nothing can be resumed any more; raises OSError."""
    for path in config.journals:
        path.unlink(missing_ok=True)


def _studies_of_earlier_run(config: Config) -> list[str]:
    """The ids in `studies.csv`, none where it is absent or damaged."""
    with suppress(OSError, ValueError, csv.Error), (config.output / STUDIES).open(encoding="utf-8") as file:
        return [row.get("study_id") or "" for row in csv.DictReader(file)]
    return []


def grade_pictures(config: Config, state: RunState, budget: Budget) -> None:
    """Draw the final grades into the pictures of this run, and of the one that it resumes; a note where time is short.

    Raises:
        OSError: a picture cannot be read or written.
    """
    if not config.pictures_path.is_dir():
        return
    from lumbar_kernel.results.pictures import add_grades, picture_path  # only where there are some

    graded, nothing = state.graded, np.zeros(len(ROWS), dtype=bool)
    for study_id, values in state.grades.items():
        if budget.margin() < PAGE_SHARE * config.reserve:
            state.notes.append("no time to draw the grades of all studies into their pictures")
            return
        path = picture_path(config.pictures_path, study_id)
        if path.is_file():
            add_grades(path, values, graded.get(study_id, nothing))


def write_page(config: Config, studies: int, budget: Budget) -> None:
    """Write `report.html` from the files of the run, where it is wished and fits into the time left.

    The page of a run that this one resumes is removed: it shows other grades.

    Raises:
        ConfigError: the run's other files could not be written.
        OSError: the page cannot be written, or the older one not removed.
    """
    if config.resume:
        config.page_path.unlink(missing_ok=True)
    if not config.html:
        return
    if budget.margin() < PAGE_SECONDS_PER_STUDY * studies:
        logger.warning("no time for %s; `lumbar-kernel report` writes it", config.page_path)
        return
    from lumbar_kernel.results import page  # only where there is time for it

    page.write_page(config.output)
