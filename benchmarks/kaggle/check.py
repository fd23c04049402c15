"""Check a `submission.csv` against a folder in the competition's layout, independently of the code that wrote it."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from lumbar_kernel.schema import SEVERITIES, SUBMISSION_COLUMNS, row_ids

SUM_TOLERANCE = 1e-6


def study_ids(data: Path) -> list[str]:
    """The test studies that the descriptions table names or, where there is no table, the folders of images."""
    table = data / "test_series_descriptions.csv"
    if table.is_file():
        with table.open(newline="", encoding="utf-8") as lines:
            return list(dict.fromkeys(row["study_id"] for row in csv.DictReader(lines)))
    images = data / "test_images"
    return sorted(folder.name for folder in (images if images.is_dir() else data).iterdir() if folder.is_dir())


def check_submission(path: Path, data: Path) -> int:
    """Refuse a table that lacks a row, has one too many, or whose grades are not probabilities.

    Args:
        path: the submission.
        data: folder in the competition's layout that it must answer.

    Returns:
        How many rows it has.

    Raises:
        ValueError: naming the first fault.
    """
    with path.open(newline="", encoding="utf-8") as lines:
        table = list(csv.reader(lines))
    if not table:
        msg = f"{path} is empty"
        raise ValueError(msg)
    header, *rows = table
    if tuple(header) != SUBMISSION_COLUMNS:
        msg = f"{path} has the columns {header}, not {list(SUBMISSION_COLUMNS)}"
        raise ValueError(msg)
    expected = sorted(row for study in study_ids(data) for row in row_ids(study))
    found = sorted("".join(row[:1]) for row in rows)
    if not expected or found != expected:
        odd = sorted(set(found) ^ set(expected))[:5]
        msg = f"{path} has {len(found)} rows, {len(expected)} are expected; first that differ: {odd}"
        raise ValueError(msg)
    for name, *grades in rows:
        values = [float(grade) for grade in grades]
        if len(values) != len(SEVERITIES) or min(values) < 0 or not math.isclose(sum(values), 1, abs_tol=SUM_TOLERANCE):
            msg = f"{name} in {path} has {values}: three numbers from 0 that sum to 1 are expected"
            raise ValueError(msg)
    return len(rows)
