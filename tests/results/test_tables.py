import csv

import numpy as np
import pytest

from lumbar_kernel.results.report import LevelReport, StudyReport
from lumbar_kernel.results.submission import submission_text
from lumbar_kernel.results.tables import (
    GRADE_COLUMNS,
    LANDMARK_COLUMNS,
    grade_records,
    grade_rows,
    landmark_rows,
    points_of,
    write_study_table,
    write_tables,
)
from lumbar_kernel.schema import CANAL, FORAMINAL, LEVELS, SEVERITIES, SEVERITY_WEIGHTS, SUBARTICULAR, TARGETS, prior
from lumbar_kernel.study import StudyFiles

LANDMARKS = {
    level: LevelReport(
        canal=[0.0, float(k), -30.0 * k],
        foramina={"left": [20.0, 0.0, 0.0], "right": [-20.0, 0.0, 0.0]},
        recesses={"left": [8.0, 0.0, 0.0], "right": [-8.0, 0.0, 0.0]} if k else None,
        axial_series_id=None,
        axial_instance_number=None,
        confidence=0.9 - 0.1 * k,
        foramen_confidence=[0.25, 0.5],
        recess_confidence=[0.125, 0.375] if k else None,
    )
    for k, level in enumerate(LEVELS)
}


@pytest.fixture
def report():
    return StudyReport("7", landmarks=LANDMARKS)


def test_each_grade_has_its_members_and_the_point_of_its_target(report):
    members = [("one", "other"), ()] * 12 + [("one",)]
    points = points_of(report)
    records = grade_records(prior(), members, points)
    assert tuple(record.target for record in records) == TARGETS
    assert [record.members for record in records] == members
    assert [record.source == "kernel" for record in records] == [bool(names) for names in members]
    assert [record.point for record in records] == [points.get(target) for target in TARGETS]
    likely = np.argmax(prior() / SEVERITY_WEIGHTS, axis=1)
    assert [record.grade for record in records] == [SEVERITIES[k] for k in likely]
    left = [record for record in records if record.target.side == "left"]
    assert {record.confidence for record in left if record.target.group == FORAMINAL} == {0.25}
    assert [record.confidence for record in left if record.target.group == SUBARTICULAR] == [None, *[0.125] * 4]
    assert [record.confidence for record in records if record.target.group == CANAL] == pytest.approx(
        [0.9, 0.8, 0.7, 0.6, 0.5]
    )


def test_rows_are_records_as_text_and_numbers(report):
    members = [("one", "other"), ()] * 12 + [("one",)]
    rows, records = grade_rows("7", prior(), members, report), grade_records(prior(), members, points_of(report))
    assert [tuple(row) for row in rows] == [GRADE_COLUMNS] * 25
    assert [row["members"] for row in rows][-3:] == ["one;other", "", "one"]
    recesses = [row["confidence"] for row in rows if row["condition"] == SUBARTICULAR]
    assert recesses == ["", *[0.125] * 4, "", *[0.375] * 4]
    for row, record in zip(rows, records, strict=True):
        assert (row["condition"], row["side"], row["level"]) == (*vars(record.target).values(),)
        assert tuple(row[name] for name in SEVERITIES) == record.probabilities


def test_points_without_an_axial_slice_are_absent(report):
    rows = landmark_rows(report)
    assert [tuple(row) for row in rows] == [LANDMARK_COLUMNS] * (3 + 4 * 5)
    assert [row["point"] for row in rows[:4]] == ["canal", "left_foramen", "right_foramen", "canal"]
    assert [row["point"] for row in rows[-2:]] == ["left_recess", "right_recess"]
    assert (rows[-1]["x_mm"], rows[-1]["level"], rows[-1]["confidence"]) == (-8.0, "l5_s1", 0.375)
    assert landmark_rows(StudyReport("7")) == []


def test_a_study_that_nobody_graded_holds_the_prior_without_confidence(report, tmp_path):
    write_tables({"8": prior(), "7": prior()}, {"7": [("one",)] * 25}, {"7": report, "8": StudyReport("8")}, tmp_path)
    with (tmp_path / "grades.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["study_id"] for row in rows] == ["8"] * 25 + ["7"] * 25
    assert {(row["source"], row["confidence"]) for row in rows[:25]} == {("prior", "")}
    with (tmp_path / "landmarks.csv").open(newline="") as file:
        assert {row["study_id"] for row in csv.DictReader(file)} == {"7"}


def test_the_studies_of_the_archive_are_named_in_a_table(tmp_path):
    write_study_table([StudyFiles("7", (), study_uid="1.2", folder="a/7"), StudyFiles("8", ())], tmp_path)
    assert (tmp_path / "studies.csv").read_text() == "study_id,study_instance_uid,folder\n7,1.2,a/7\n8,,\n"


def test_grades_are_those_of_the_submission_to_the_last_decimal(report):
    grades = np.tile([1.0, 0.0, 0.0], (25, 1))
    written = [record.probabilities for record in grade_records(grades, [()] * 25, {})]
    lines = submission_text({"7": grades}).splitlines()[1:]
    assert [[f"{value:.6f}" for value in row] for row in written] == [line.split(",")[1:] for line in lines]
