"""What the first submission holds: the prior, or the grades of the run that is resumed, in the order of the sample."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.config import Config
from lumbar_kernel.errors import SubmissionError
from lumbar_kernel.results.report import StudyReport
from lumbar_kernel.results.submission import SUM_TOLERANCE, as_written, check_values, load_submission
from lumbar_kernel.schema import prior, row_ids
from lumbar_kernel.study import StudyFiles

logger = logging.getLogger(__name__)

EARLIER = "earlier_run"
"""Stands for the members of a row that the run before graded, which this one resumes: it left no list of them."""

NOT_REACHED = "its grades are those of the run before; this one did not get to it"

NOT_GRADED = "its grades are those of the run before; this one could not grade it"


def previous_grades(config: Config) -> dict[str, FloatArray]:
    """Row id → probabilities of the run that is resumed, interrupted or finished; empty without one."""
    if not (config.resume and config.submission_path.is_file()):
        return {}
    try:
        grades = load_submission(config.submission_path)
        check_values(list(grades), np.array(list(grades.values())), tolerance=SUM_TOLERANCE)
    except (SubmissionError, ValueError, OSError) as error:
        logger.warning("%s cannot be reused: %s", config.submission_path, error)
        return {}
    return grades


def first_grades(study_ids: Sequence[str], previous: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The grades written first: the prior, or in a resumed run the grades of the one before."""
    grades = {study_id: prior() for study_id in study_ids}
    for study_id in study_ids if previous else ():
        if all(row in previous for row in row_ids(study_id)):
            grades[study_id] = np.array([previous[row] for row in row_ids(study_id)])
    return grades


def earlier_members(grades: FloatArray) -> tuple[tuple[str, ...], ...]:
    """The members behind each of the 25 rows that a run begins with: `EARLIER` where they hold more than the prior."""
    graded = (as_written(grades) != as_written(prior())).any(axis=1)
    return tuple((EARLIER,) if row else () for row in graded.tolist())


def first_report(study_id: str, row_members: Sequence[Sequence[str]] = ()) -> StudyReport:
    """A study's part of the report before it is looked at.

    Args:
        study_id: as in the row ids.
        row_members: as `earlier_members` gives them, of a study that holds grades of the run before.
    """
    if not any(row_members):
        return StudyReport(study_id)
    return StudyReport(study_id, members=(EARLIER,), missing=(NOT_REACHED,), graded_rows=sum(map(bool, row_members)))


def submission_order(sample: Sequence[str], studies: Sequence[StudyFiles]) -> list[str]:
    """Study ids in the order of the sample submission, then the others in the order found."""
    found = [item.study_id for item in studies]
    known = set(found)
    return list(dict.fromkeys([*(study_id for study_id in sample if study_id in known), *found]))
