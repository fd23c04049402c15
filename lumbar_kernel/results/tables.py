"""Tidy tables beside the submission: one row a study, one row a grade, one row a point."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.results.atomic import write_atomic
from lumbar_kernel.results.report import StudyReport
from lumbar_kernel.schema import FORAMINAL, LEVELS, ROWS, SEVERITIES, SEVERITY_WEIGHTS, SIDES, group_of
from lumbar_kernel.study import StudyFiles

STUDY_COLUMNS = ("study_id", "study_instance_uid", "folder")
GRADE_COLUMNS = ("study_id", "condition", "side", "level", *SEVERITIES, "grade", "source", "confidence")
LANDMARK_COLUMNS = ("study_id", "level", "point", "x_mm", "y_mm", "z_mm", "confidence")

KERNEL, PRIOR = "kernel", "prior"
"""Where a row's probabilities come from."""


def grade_rows(
    study_id: str, grades: FloatArray, graded: NDArray[np.bool_], report: StudyReport
) -> list[dict[str, object]]:
    """The 25 grades of a study as rows of `GRADE_COLUMNS`, in the order of `schema.ROWS`.

    The probabilities minimise the competition's loss, which weighs grades 1, 2 and 4: they are proportional to weight
    times frequency. `grade` is the most frequent one, the largest after division by the weights.

    Args:
        study_id: as in the row ids.
        grades: (25, 3) probabilities.
        graded: (25,) whether a member graded the row; the others hold the prior.
        report: gives the confidence of each level, 0 to 1, that of the foramen for foraminal rows; empty if unknown.
    """
    rows: list[dict[str, object]] = []
    for row, values, by_kernel in zip(ROWS, grades, graded, strict=True):
        side = next((name for name in SIDES if row.startswith(f"{name}_")), "")
        level = row[-5:]
        rows.append(
            {
                "study_id": study_id,
                "condition": group_of(row),
                "side": side,
                "level": level,
                **{name: round(float(value), 6) for name, value in zip(SEVERITIES, values, strict=True)},
                "grade": SEVERITIES[int(np.argmax(values / np.array(SEVERITY_WEIGHTS)))],
                "source": KERNEL if by_kernel else PRIOR,
                "confidence": _confidence(report, level, side if FORAMINAL in row else ""),
            }
        )
    return rows


def landmark_rows(report: StudyReport) -> list[dict[str, object]]:
    """The points of a study as rows of `LANDMARK_COLUMNS`, mm LPS: canal, foramina, and recesses where found."""
    rows: list[dict[str, object]] = []
    for level in LEVELS if report.landmarks else ():
        entry = (report.landmarks or {})[level]
        points = [("canal", entry["canal"], "")]
        points += [(f"{side}_foramen", entry["foramina"][side], side) for side in SIDES]
        points += [(f"{side}_recess", entry["recesses"][side], "") for side in SIDES if entry["recesses"]]
        for name, place, side in points:
            x, y, z = place
            rows.append(
                {
                    **{"study_id": report.study_id, "level": level, "point": name},
                    **{"x_mm": x, "y_mm": y, "z_mm": z, "confidence": _confidence(report, level, side)},
                }
            )
    return rows


def _confidence(report: StudyReport, level: str, side: str) -> float | str:
    """The confidence of a level's place, or of one side's foramen; empty where nothing was located."""
    if not report.landmarks:
        return ""
    entry: Mapping[str, Any] = report.landmarks[level]
    return float(entry["foramen_confidence"][SIDES.index(side)] if side else entry["confidence"])


def write_study_table(studies: Iterable[StudyFiles], folder: Path) -> None:
    """Write `studies.csv`: which study of the archive each study id is; raises OSError as `write_tables`."""
    rows = (
        {"study_id": item.study_id, "study_instance_uid": item.study_uid, "folder": item.folder} for item in studies
    )
    write_atomic(_text(STUDY_COLUMNS, rows), folder / "studies.csv")


def write_tables(
    grades: Mapping[str, FloatArray],
    graded: Mapping[str, NDArray[np.bool_]],
    reports: Mapping[str, StudyReport],
    folder: Path,
) -> None:
    """Write `grades.csv` and `landmarks.csv`, studies in the order of `grades`.

    Args:
        grades: study id → (25, 3) probabilities.
        graded: study id → (25,) whether a member graded the row; a study that is absent holds the prior.
        reports: study id → its part of the report.
        folder: exists.

    Raises:
        OSError: a file cannot be written; an existing one stays.
    """
    none = np.zeros(len(ROWS), dtype=bool)
    of_grades = (row for key in grades for row in grade_rows(key, grades[key], graded.get(key, none), reports[key]))
    write_atomic(_text(GRADE_COLUMNS, of_grades), folder / "grades.csv")
    of_points = (row for key in grades for row in landmark_rows(reports[key]))
    write_atomic(_text(LANDMARK_COLUMNS, of_points), folder / "landmarks.csv")


def _text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
