"""What a run writes at its end besides the submission, while there is time: none of it may cost the grades."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.config import Config
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.report import EXIT_DEGRADED, Failure, Report
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.schema import ROWS

logger = logging.getLogger(__name__)

PAGE_SHARE = 0.3
"""Fraction of the reserve that pictures leave for the tables, the report and the page."""

PAGE_SECONDS_PER_STUDY = 0.02
"""Twice what the page of 700 studies with pictures took on a busy core (0.0105 s a study, mostly thumbnails)."""


def try_to_write(name: str, write: Callable[[], object]) -> tuple[Failure, ...]:
    """Write something; returns a failure where that is not possible."""
    try:
        write()
    except (OSError, ConfigError) as error:
        logger.warning("%s cannot be written: %s", name, error)
        return (Failure(f"write {name}", type(error).__name__, str(error)),)
    return ()


def with_failures(report: Report, failures: tuple[Failure, ...]) -> Report:
    """The report with failures that came after it."""
    if not failures:
        return report
    return replace(report, failures=(*report.failures, *failures), exit_code=EXIT_DEGRADED)


def remove_pictures(config: Config, study_ids: Sequence[str]) -> None:
    """Remove the pictures of an earlier run, whose landmarks are not those of this one; raises OSError."""
    if config.pictures_path.is_dir():
        from lumbar_kernel.results.pictures import picture_path  # OpenCV would delay the first submission

        for study_id in study_ids:
            picture_path(config.pictures_path, study_id).unlink(missing_ok=True)


def grade_pictures(
    config: Config, grades: Mapping[str, FloatArray], graded: Mapping[str, NDArray[np.bool_]], budget: Budget
) -> str | None:
    """Draw the final grades into the pictures that workers have drawn; returns a sentence where time was short.

    Raises:
        OSError: a picture cannot be read or written.
    """
    if not config.pictures_to_draw:
        return None
    from lumbar_kernel.results.pictures import add_grades, picture_path  # OpenCV would delay the first submission

    nothing = np.zeros(len(ROWS), dtype=bool)
    for study_id, values in grades.items():
        if budget.margin() < PAGE_SHARE * config.reserve:
            return "no time to draw the grades of all studies into their pictures"
        path = picture_path(config.pictures_path, study_id)
        if path.is_file():
            add_grades(path, values, graded.get(study_id, nothing))
    return None


def write_page(config: Config, studies: int, budget: Budget) -> None:
    """Write `report.html` from the files of the run, where it is wished and fits into the time left.

    Raises:
        ConfigError: the run's other files could not be written.
        OSError: the page cannot be written.
    """
    if not config.html:
        return
    if budget.margin() < PAGE_SECONDS_PER_STUDY * studies:
        logger.warning("no time for %s; `lumbar-kernel report` writes it", config.page_path)
        return
    from lumbar_kernel.results import page  # OpenCV would delay the first submission

    page.write_page(config.output)
