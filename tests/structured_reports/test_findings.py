import json
import shutil

import numpy as np
import pytest

from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.submission import load_submission
from lumbar_kernel.schema import ROWS
from lumbar_kernel.structured_reports.findings import read_findings


def test_findings_are_those_of_the_submission(run):
    submission = load_submission(run / "submission.csv")
    studies = read_findings(run)
    assert len(studies) == 2
    for study in studies:
        assert len(study.findings) == 25
        assert len(study.roles) == 3
        for finding, row in zip(study.findings, ROWS, strict=True):
            assert finding.target.row == row
            assert finding.probabilities == pytest.approx(submission[f"{study.study_id}_{row}"], abs=2e-6)
            assert finding.point is None or len(finding.point.mm) == 3


def test_rows_that_hold_the_prior_are_no_findings(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    text = (copy / "grades.csv").read_text().replace(",kernel,", ",prior,", 3)
    (copy / "grades.csv").write_text(text)
    assert len(read_findings(copy)[0].findings) == 22


def edited(run, tmp_path, change):
    """A copy of a run whose report was changed."""
    copy = shutil.copytree(run, tmp_path / "run")
    report = json.loads((copy / "report.json").read_text())
    change(report)
    (copy / "report.json").write_text(json.dumps(report))
    return copy


def test_a_study_without_landmarks_has_findings_without_points(run, tmp_path):
    copy = edited(run, tmp_path, lambda report: report["studies"][0].update(landmarks=None))
    findings = read_findings(copy)[0].findings
    assert len(findings) == 25
    assert all(finding.point is None for finding in findings)


@pytest.mark.parametrize("name", ["report.json", "grades.csv"])
def test_a_folder_without_a_run_is_refused(run, tmp_path, name):
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / name).unlink()
    with pytest.raises(ConfigError, match=name):
        read_findings(copy)


def test_a_run_of_another_version_is_refused(run, tmp_path):
    copy = edited(run, tmp_path, lambda report: report["studies"][0].update(colour="red"))
    with pytest.raises(ConfigError, match="not written by this version"):
        read_findings(copy)


def test_points_lie_in_the_patient(study):
    points = np.array([finding.point.mm for finding in study.findings if finding.point is not None])
    assert len(points) > 10
    assert np.abs(points).max() < 500
