"""Tidy tables beside the submission: one row a study, one row a grade, one row a point."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lumbar_kernel import output_names
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.results.atomic import write_atomic
from lumbar_kernel.results.report import StudyReport
from lumbar_kernel.results.submission import as_written
from lumbar_kernel.schema import (
    CANAL,
    FORAMINAL,
    PLACES,
    SEVERITIES,
    SIDES,
    SUBARTICULAR,
    TARGETS,
    Target,
    frequencies,
)
from lumbar_kernel.study import StudyFiles

STUDY_COLUMNS = ("study_id", "study_instance_uid", "folder")
GRADE_COLUMNS = ("study_id", "condition", "side", "level", *SEVERITIES, "grade", "source", "members", "confidence")
LANDMARK_COLUMNS = ("study_id", "level", "point", "x_mm", "y_mm", "z_mm", "confidence")

KERNEL, PRIOR = "kernel", "prior"
"""Where a row's probabilities come from."""

SEPARATOR = ";"
"""Between the names of members."""


@dataclass(frozen=True)
class Point:
    """A point (3,) mm LPS and the confidence in it, 0 to 1."""

    mm: tuple[float, ...]
    confidence: float


@dataclass(frozen=True)
class GradeRecord:
    """The grade of one target.

    Attributes:
        target: what was graded.
        probabilities: of the three grades, as in `submission.csv`: they minimise the competition's loss, which weighs
            grades 1, 2 and 4, and are proportional to weight times frequency.
        grade: the most frequent one of `schema.SEVERITIES`, the largest after division by the weights.
        members: names of those that graded it; without any it holds the prior.
        point: at which it was graded, None where nothing was located.
    """

    target: Target
    probabilities: tuple[float, ...]
    grade: str
    members: tuple[str, ...]
    point: Point | None

    @property
    def source(self) -> str:
        """Where the probabilities come from."""
        return KERNEL if self.members else PRIOR

    def columns(self, probabilities: Iterable[float]) -> dict[str, object]:
        """What every table says of it in the same words, with probabilities rounded as the table has them."""
        return {
            "condition": self.target.group,
            "side": self.target.side,
            "level": self.target.level,
            **dict(zip(SEVERITIES, probabilities, strict=True)),
            "grade": self.grade,
            "source": self.source,
        }

    @property
    def confidence(self) -> float | None:
        """The confidence in the point, None without one."""
        return None if self.point is None else self.point.confidence


def points_of(report: StudyReport) -> dict[Target, Point]:
    """The points of a study by what is graded there, level by level: canal, foramina, and recesses where found."""
    points: dict[Target, Point] = {}
    for level, found in (report.landmarks or {}).items():
        points[Target(CANAL, "", level)] = Point(tuple(found.canal), found.confidence)
        for group, places, confidences in (
            (FORAMINAL, found.foramina, found.foramen_confidence),
            (SUBARTICULAR, found.recesses or {}, found.recess_confidence or ()),
        ):
            for side, place in places.items():
                points[Target(group, side, level)] = Point(tuple(place), confidences[SIDES.index(side)])
    return points


def grade_records(
    grades: FloatArray, row_members: Sequence[Sequence[str]], points: Mapping[Target, Point]
) -> list[GradeRecord]:
    """The 25 grades of a study in the order of `schema.TARGETS`.

    Args:
        grades: (25, 3) probabilities.
        row_members: names of the members that graded each row.
        points: of the study.
    """
    written = as_written(grades)
    likeliest = frequencies(written).argmax(axis=1).tolist()
    rows = zip(TARGETS, written.tolist(), likeliest, row_members, strict=True)
    return [
        GradeRecord(target, tuple(values), SEVERITIES[most], tuple(members), points.get(target))
        for target, values, most, members in rows
    ]


def grade_rows(
    study_id: str, grades: FloatArray, row_members: Sequence[Sequence[str]], report: StudyReport
) -> list[dict[str, object]]:
    """The 25 grades of a study as rows of `grades.csv`, an unknown confidence as an empty text."""
    return [
        {
            "study_id": study_id,
            **record.columns(record.probabilities),
            "members": SEPARATOR.join(record.members),
            "confidence": "" if record.confidence is None else record.confidence,
        }
        for record in grade_records(grades, row_members, points_of(report))
    ]


def landmark_rows(report: StudyReport) -> list[dict[str, object]]:
    """The points of a study as rows of `landmarks.csv`."""
    return [
        {
            "study_id": report.study_id,
            "level": target.level,
            "point": f"{target.side}_{PLACES[target.group]}".lstrip("_"),
            **dict(zip(("x_mm", "y_mm", "z_mm"), point.mm, strict=True)),
            "confidence": point.confidence,
        }
        for target, point in points_of(report).items()
    ]


def write_study_table(studies: Iterable[StudyFiles], folder: Path) -> None:
    """Write `studies.csv`: which study of the archive each study id is; raises OSError as `write_tables`."""
    rows = (
        {"study_id": item.study_id, "study_instance_uid": item.study_uid, "folder": item.folder} for item in studies
    )
    write_atomic(_text(STUDY_COLUMNS, rows), folder / output_names.STUDIES)


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
    none = [()] * len(TARGETS)
    of_grades = (
        row for key in grades for row in grade_rows(key, grades[key], row_members.get(key, none), reports[key])
    )
    write_atomic(_text(GRADE_COLUMNS, of_grades), folder / output_names.GRADES)
    of_points = (row for key in grades for row in landmark_rows(reports[key]))
    write_atomic(_text(LANDMARK_COLUMNS, of_points), folder / output_names.LANDMARKS)


def _text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
