"""The files of a finished run → the findings of each study that a member graded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.report import StudyReport, study_report_from
from lumbar_kernel.results.run_files import GradedStudy, read_run
from lumbar_kernel.results.tables import KERNEL, PLACES, grade_rows, landmark_rows
from lumbar_kernel.schema import AXIAL_T2, CANAL, FORAMINAL, SAGITTAL_T1, SAGITTAL_T2, SEVERITIES, SUBARTICULAR

SHOWN_ON = {
    CANAL: (SAGITTAL_T2, SAGITTAL_T1),
    FORAMINAL: (SAGITTAL_T1, SAGITTAL_T2),
    SUBARTICULAR: (AXIAL_T2, SAGITTAL_T2),
}
"""The roles of series that show each condition, the best first."""


@dataclass(frozen=True, eq=False)
class Finding:
    """One graded row.

    Attributes:
        condition: one of `schema.GROUPS`.
        side: one of `schema.SIDES`, empty for the canal.
        level: one of `schema.LEVELS`.
        probabilities: by severity, as in `submission.csv`.
        grade: the most frequent severity.
        point: mm LPS, None where nothing was located.
        confidence: that the point is right, None without a point.
    """

    condition: str
    side: str
    level: str
    probabilities: Mapping[str, float]
    grade: str
    point: FloatArray | None
    confidence: float | None


@dataclass(frozen=True, eq=False)
class StudyFindings:
    """The findings of a study.

    Attributes:
        study_id: as in the row ids.
        version: of the package that graded.
        weights_sha256: of the manifest.
        roles: series_id → role, of the series used.
        findings: those of rows that a member graded, in the order of the submission.
    """

    study_id: str
    version: str
    weights_sha256: str
    roles: Mapping[str, str]
    findings: tuple[Finding, ...]


def read_findings(run: Path) -> tuple[StudyFindings, ...]:
    """What a run found, from `report.json` and `grades.csv` in its folder.

    Raises:
        ConfigError: a file is absent, or is not one of this version.
    """
    files = read_run(run)
    try:
        return tuple(_of_study(study, files.report) for study in files.studies)
    except (KeyError, TypeError) as error:
        msg = f"{str(run)!r} was not written by this version of lumbar_kernel: {type(error).__name__} {error}"
        raise ConfigError(msg) from error


def _of_study(study: GradedStudy, run_report: Mapping[str, Any]) -> StudyFindings:
    report = study_report_from(study.report)
    return StudyFindings(
        study_id=study.study_id,
        version=run_report["version"],
        weights_sha256=run_report["weights_sha256"],
        roles={series.series_id: series.role for series in report.series},
        findings=tuple(_findings(study, report)),
    )


def _findings(study: GradedStudy, report: StudyReport) -> Iterator[Finding]:
    points = {(row["level"], row["point"]): row for row in landmark_rows(report)}
    members = [(KERNEL,) if graded else () for graded in study.graded]
    for row in grade_rows(study.study_id, study.probabilities, members, report):
        if row["source"] != KERNEL:
            continue
        side, level = str(row["side"]), str(row["level"])
        point = points.get((level, f"{side}_{PLACES[str(row['condition'])]}".lstrip("_")))
        yield Finding(
            condition=str(row["condition"]),
            side=side,
            level=level,
            probabilities={severity: float(str(row[severity])) for severity in SEVERITIES},
            grade=str(row["grade"]),
            point=None if point is None else np.array([point[f"{axis}_mm"] for axis in "xyz"], dtype=np.float64),
            confidence=None if point is None else float(str(point["confidence"])),
        )
