"""Tidy tables beside the submission: one row a study, one row a grade, one row a point."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.results.atomic import write_atomic
from lumbar_kernel.results.report import StudyReport
from lumbar_kernel.results.submission import as_written
from lumbar_kernel.schema import (
    CANAL,
    FORAMINAL,
    LEVELS,
    ROWS,
    SEVERITIES,
    SEVERITY_WEIGHTS,
    SIDES,
    SUBARTICULAR,
    group_of,
)
from lumbar_kernel.study import StudyFiles

STUDY_COLUMNS = ("study_id", "study_instance_uid", "folder")
GRADE_COLUMNS = ("study_id", "condition", "side", "level", *SEVERITIES, "grade", "source", "members", "confidence")
LANDMARK_COLUMNS = ("study_id", "level", "point", "x_mm", "y_mm", "z_mm", "confidence")

KERNEL, PRIOR = "kernel", "prior"
"""Where a row's probabilities come from."""

CANAL_POINT, FORAMEN, RECESS = "canal", "foramen", "recess"
PLACES = {CANAL: CANAL_POINT, FORAMINAL: FORAMEN, SUBARTICULAR: RECESS}
"""The point at which each condition is graded."""

SEPARATOR = ";"
"""Between the names of members."""


def grade_rows(
    study_id: str, grades: FloatArray, row_members: Sequence[Sequence[str]], report: StudyReport
) -> list[dict[str, object]]:
    """The 25 grades of a study as rows of `GRADE_COLUMNS`, in the order of `schema.ROWS`.

    The probabilities minimise the competition's loss, which weighs grades 1, 2 and 4: they are proportional to weight
    times frequency. `grade` is the most frequent one, the largest after division by the weights.

    Args:
        study_id: as in the row ids.
        grades: (25, 3) probabilities.
        row_members: names of the members that graded each row; a row without any holds the prior.
        report: gives the confidence in the place that was graded, 0 to 1: canal, foramen or recess; empty if unknown.
    """
    rows: list[dict[str, object]] = []
    for row, values, members in zip(ROWS, as_written(grades), row_members, strict=True):
        side = next((name for name in SIDES if row.startswith(f"{name}_")), "")
        level = row[-5:]
        rows.append(
            {
                "study_id": study_id,
                "condition": group_of(row),
                "side": side,
                "level": level,
                **dict(zip(SEVERITIES, values.tolist(), strict=True)),
                "grade": SEVERITIES[int(np.argmax(values / np.array(SEVERITY_WEIGHTS)))],
                "source": KERNEL if members else PRIOR,
                "members": SEPARATOR.join(members),
                "confidence": _confidence(report, level, PLACES[group_of(row)], side),
            }
        )
    return rows


def landmark_rows(report: StudyReport) -> list[dict[str, object]]:
    """The points of a study as rows of `LANDMARK_COLUMNS`, mm LPS: canal, foramina, and recesses where found."""
    rows: list[dict[str, object]] = []
    for level in LEVELS if report.landmarks else ():
        entry = (report.landmarks or {})[level]
        points = [(CANAL_POINT, "", entry["canal"])]
        points += [(FORAMEN, side, entry["foramina"][side]) for side in SIDES]
        points += [(RECESS, side, entry["recesses"][side]) for side in SIDES if entry["recesses"]]
        for kind, side, place in points:
            x, y, z = place
            rows.append(
                {
                    **{"study_id": report.study_id, "level": level, "point": f"{side}_{kind}".lstrip("_")},
                    **{"x_mm": x, "y_mm": y, "z_mm": z, "confidence": _confidence(report, level, kind, side)},
                }
            )
    return rows


def _confidence(report: StudyReport, level: str, kind: str, side: str) -> float | str:
    """The confidence in a point; empty where nothing was located."""
    if not report.landmarks:
        return ""
    entry: Mapping[str, Any] = report.landmarks[level]
    if kind == CANAL_POINT:
        return float(entry["confidence"])
    of_sides = entry[f"{kind}_confidence"]
    return "" if of_sides is None else float(of_sides[SIDES.index(side)])


def write_study_table(studies: Iterable[StudyFiles], folder: Path) -> None:
    """Write `studies.csv`: which study of the archive each study id is; raises OSError as `write_tables`."""
    rows = (
        {"study_id": item.study_id, "study_instance_uid": item.study_uid, "folder": item.folder} for item in studies
    )
    write_atomic(_text(STUDY_COLUMNS, rows), folder / "studies.csv")


def write_tables(
    grades: Mapping[str, FloatArray],
    row_members: Mapping[str, Sequence[Sequence[str]]],
    reports: Mapping[str, StudyReport],
    folder: Path,
) -> None:
    """Write `grades.csv` and `landmarks.csv`, studies in the order of `grades`.

    Args:
        grades: study id → (25, 3) probabilities.
        row_members: study id → members that graded each of the 25 rows; a study that is absent holds the prior.
        reports: study id → its part of the report.
        folder: exists.

    Raises:
        OSError: a file cannot be written; an existing one stays.
    """
    none = [()] * len(ROWS)
    of_grades = (
        row for key in grades for row in grade_rows(key, grades[key], row_members.get(key, none), reports[key])
    )
    write_atomic(_text(GRADE_COLUMNS, of_grades), folder / "grades.csv")
    of_points = (row for key in grades for row in landmark_rows(reports[key]))
    write_atomic(_text(LANDMARK_COLUMNS, of_points), folder / "landmarks.csv")


def _text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
