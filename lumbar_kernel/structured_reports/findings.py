"""The tables of a finished run → the findings of each study that a member graded."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.tables import KERNEL, PLACES
from lumbar_kernel.schema import AXIAL_T2, CANAL, FORAMINAL, SAGITTAL_T1, SAGITTAL_T2, SEVERITIES, SUBARTICULAR

SHOWN_ON = {
    CANAL: (SAGITTAL_T2, SAGITTAL_T1),
    FORAMINAL: (SAGITTAL_T1, SAGITTAL_T2),
    SUBARTICULAR: (AXIAL_T2,),
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
    """What a run found, from `report.json`, `grades.csv` and `landmarks.csv` in its folder.

    Raises:
        ConfigError: a file is missing, or is not one of this version.
    """
    try:
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        points = {
            (row["study_id"], row["level"], row["point"]): np.array([float(row[f"{axis}_mm"]) for axis in "xyz"])
            for row in _rows(run / "landmarks.csv")
        }
        findings: dict[str, list[Finding]] = {}
        for row in _rows(run / "grades.csv"):
            if row["source"] == KERNEL:
                findings.setdefault(row["study_id"], []).append(_finding(row, points))
        return tuple(
            StudyFindings(
                study_id=study["study_id"],
                version=report["version"],
                weights_sha256=report["weights_sha256"],
                roles={series["series_id"]: series["role"] for series in study["series"]},
                findings=tuple(findings.get(study["study_id"], ())),
            )
            for study in report["studies"]
        )
    except OSError as error:
        msg = f"{str(run)!r} is no folder of a finished run: {error.strerror} ({Path(str(error.filename)).name})"
        raise ConfigError(msg) from error
    except (KeyError, ValueError, TypeError) as error:
        msg = f"{str(run)!r} was not written by this version of lumbar_kernel: {type(error).__name__} {error}"
        raise ConfigError(msg) from error


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _finding(row: Mapping[str, str], points: Mapping[tuple[str, str, str], FloatArray]) -> Finding:
    name = f"{row['side']}_{PLACES[row['condition']]}".lstrip("_")
    point = points.get((row["study_id"], row["level"], name))
    return Finding(
        condition=row["condition"],
        side=row["side"],
        level=row["level"],
        probabilities={severity: float(row[severity]) for severity in SEVERITIES},
        grade=row["grade"],
        point=point,
        confidence=float(row["confidence"]) if point is not None and row["confidence"] else None,
    )
