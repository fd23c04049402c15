"""The files of a finished run → the findings of each study that a member graded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lumbar_kernel.results.run_files import GradedStudy, read_run
from lumbar_kernel.results.tables import KERNEL, GradeRecord, grade_records
from lumbar_kernel.schema import AXIAL_T2, CANAL, FORAMINAL, SAGITTAL_T1, SAGITTAL_T2, SUBARTICULAR

SHOWN_ON = {
    CANAL: (SAGITTAL_T2, SAGITTAL_T1),
    FORAMINAL: (SAGITTAL_T1, SAGITTAL_T2),
    SUBARTICULAR: (AXIAL_T2, SAGITTAL_T2),
}
"""The roles of series that show each condition, the best first."""


@dataclass(frozen=True, eq=False)
class StudyFindings:
    """The findings of a study.

    Attributes:
        study_id: as in the row ids.
        version: of the package that graded.
        weights_sha256: of the manifest.
        roles: series_id → role, of the series used.
        findings: the grades that a member gave, in the order of the submission.
    """

    study_id: str
    version: str
    weights_sha256: str
    roles: Mapping[str, str]
    findings: tuple[GradeRecord, ...]


def read_findings(run: Path) -> tuple[StudyFindings, ...]:
    """What a run found, from `report.json` and `grades.csv` in its folder.

    Raises:
        ConfigError: a file is absent, or is not one of this version.
    """
    files = read_run(run)
    return tuple(
        StudyFindings(
            study_id=study.study_id,
            version=files.report.version,
            weights_sha256=files.report.weights_sha256,
            roles={series.series_id: series.role for series in study.report.series},
            findings=_findings(study),
        )
        for study in files.studies
    )


def _findings(study: GradedStudy) -> tuple[GradeRecord, ...]:
    members = [(KERNEL,) if graded else () for graded in study.graded]  # a finding does not say by which of them
    records = grade_records(study.probabilities, members, study.points)
    return tuple(record for record in records if record.members)
