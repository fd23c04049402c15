"""What the first submission holds: the prior, or the grades of the interrupted run, in the order of the sample."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.config import Config
from lumbar_kernel.errors import SubmissionError
from lumbar_kernel.results.submission import SUM_TOLERANCE, check_values, load_submission
from lumbar_kernel.schema import prior, row_ids
from lumbar_kernel.study import StudyFiles

logger = logging.getLogger(__name__)


def previous_grades(config: Config) -> dict[str, FloatArray]:
    """Row id → probabilities of the interrupted run that is resumed; empty without one, which leaves a journal."""
    if not (config.resume and config.interrupted and config.submission_path.is_file()):
        return {}
    try:
        grades = load_submission(config.submission_path)
        check_values(list(grades), np.array(list(grades.values())), tolerance=SUM_TOLERANCE)
    except (SubmissionError, ValueError, OSError) as error:
        logger.warning("%s cannot be reused: %s", config.submission_path, error)
        return {}
    return grades


def first_grades(study_ids: Sequence[str], previous: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """The grades written first: the prior, or in a resumed run the grades of the interrupted one."""
    grades = {study_id: prior() for study_id in study_ids}
    for study_id in study_ids if previous else ():
        if all(row in previous for row in row_ids(study_id)):
            grades[study_id] = np.array([previous[row] for row in row_ids(study_id)])
    return grades


def submission_order(sample: Sequence[str], studies: Sequence[StudyFiles]) -> list[str]:
    """Study ids in the order of the sample submission, then the others in the order found."""
    found = [item.study_id for item in studies]
    known = set(found)
    return list(dict.fromkeys([*(study_id for study_id in sample if study_id in known), *found]))
