"""Grades of all studies → a checked table → `submission.csv`, written completely or not at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.errors import SubmissionError
from lumbar_kernel.results.atomic import write_atomic
from lumbar_kernel.schema import ROW_ID, ROWS, SEVERITIES, SUBMISSION_COLUMNS, row_ids

SUM_TOLERANCE = 1e-6
MILLIONTHS = 1_000_000
NAMED_ROWS = 5


def write_submission(grades: Mapping[str, FloatArray], path: Path) -> None:
    """Check the grades and put them on disk in one step, so that a reader never sees half a file.

    Args:
        grades: study id → (25, 3) probabilities, rows as in `schema.ROWS`; studies are written in this order.
        path: file to make or replace; its folder must exist.

    Raises:
        SubmissionError: the grades break the format; an existing file stays.
    """
    write_atomic(submission_text(grades), path)


def submission_text(grades: Mapping[str, FloatArray]) -> str:
    """The submission as text, the same bytes for the same grades; raises SubmissionError."""
    return f"{','.join(SUBMISSION_COLUMNS)}\n{submission_rows(*_stack(grades))}"


def submission_rows(identifiers: Sequence[str], values: FloatArray) -> str:
    """Rows of a submission as text: six decimals, each row summing to one exactly.

    No grade is written as less than one millionth: the metric punishes a true grade at zero with a loss of 36.

    Args:
        identifiers: row ids.
        values: (rows, 3) probabilities, checked.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for identifier, row in zip(identifiers, as_written(values).tolist(), strict=True):
        writer.writerow([identifier, *(f"{value:.6f}" for value in row)])
    return text.getvalue()


def as_written(values: FloatArray) -> FloatArray:
    """Probabilities (rows, 3) as the submission holds them: whole millionths, at least one, each row's sum one."""
    millionths = np.maximum(np.rint(values * MILLIONTHS).astype(np.int64), 1)
    millionths[np.arange(len(values)), values.argmax(axis=1)] += MILLIONTHS - millionths.sum(axis=1)
    return millionths / MILLIONTHS


def _stack(grades: Mapping[str, FloatArray]) -> tuple[list[str], FloatArray]:
    """Row ids and (25 × studies, 3) probabilities of checked grades, studies in the order given."""
    if not grades:
        msg = "there are no studies to write; point `data` at a folder that holds DICOM studies"
        raise SubmissionError(msg)
    for study_id, values in grades.items():
        if np.shape(values) != (len(ROWS), len(SEVERITIES)):
            msg = f"grades of study {study_id!r} must have shape {(len(ROWS), len(SEVERITIES))}, not {np.shape(values)}"
            raise SubmissionError(msg)
    identifiers = [identifier for study_id in grades for identifier in row_ids(study_id)]
    stacked = np.concatenate([np.asarray(values, dtype=np.float64) for values in grades.values()])
    check_values(identifiers, stacked, tolerance=SUM_TOLERANCE)
    return identifiers, stacked


def check_values(identifiers: Sequence[str], values: FloatArray, *, tolerance: float) -> None:
    """Refuse probabilities (rows, 3) that are not finite, negative or do not sum to one.

    Args:
        identifiers: row ids, for the message.
        values: the probabilities.
        tolerance: largest difference of a sum from one.

    Raises:
        SubmissionError: naming the fault, the number of rows and the first of them.
    """

    def name(wrong: NDArray[np.bool_]) -> list[str]:
        return [f"{identifiers[row]} {values[row].tolist()}" for row in np.flatnonzero(wrong).tolist()]

    _refuse("are not finite", name(~np.all(np.isfinite(values), axis=1)))
    _refuse("are negative", name(np.any(values < 0, axis=1)))
    _refuse("do not sum to one", name(np.abs(values.sum(axis=1) - 1) > tolerance))


def _refuse(fault: str, rows: Sequence[str]) -> None:
    """Raise SubmissionError when there are rows with this fault, naming the first of them."""
    if rows:
        more = f" and {len(rows) - NAMED_ROWS} more" if len(rows) > NAMED_ROWS else ""
        msg = f"rows {fault} ({len(rows)}): {', '.join(rows[:NAMED_ROWS])}{more}"
        raise SubmissionError(msg)


def load_submission(path: Path) -> dict[str, FloatArray]:
    """Row id → (3,) probabilities of a submission file, complete or not; raises SubmissionError for another layout."""
    submission: dict[str, FloatArray] = {}
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != SUBMISSION_COLUMNS:
            msg = f"{path} must have the columns {', '.join(SUBMISSION_COLUMNS)}, not {reader.fieldnames}"
            raise SubmissionError(msg)
        for line in reader:
            row = line[ROW_ID]
            if row in submission:
                msg = f"{path} holds row {row} more than once"
                raise SubmissionError(msg)
            try:
                submission[row] = np.array([float(line[severity]) for severity in SEVERITIES])
            except (TypeError, ValueError) as error:
                msg = f"{path}: row {row} must hold {len(SEVERITIES)} numbers: {error}"
                raise SubmissionError(msg) from error
    return submission
