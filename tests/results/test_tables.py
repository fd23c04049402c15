import csv

import numpy as np
import pytest

from lumbar_kernel.results.report import StudyReport
from lumbar_kernel.results.tables import GRADE_COLUMNS, grade_rows, landmark_rows, write_study_table, write_tables
from lumbar_kernel.schema import LEVELS, ROWS, SEVERITIES, SEVERITY_WEIGHTS, prior
from lumbar_kernel.study import StudyFiles

LANDMARKS = {
    level: {
        "canal": [0.0, float(k), -30.0 * k],
        "foramina": {"left": [20.0, 0.0, 0.0], "right": [-20.0, 0.0, 0.0]},
        "recesses": {"left": [8.0, 0.0, 0.0], "right": [-8.0, 0.0, 0.0]} if k else None,
        "axial_instance_number": None,
        "confidence": 0.9 - 0.1 * k,
        "foramen_confidence": [0.25, 0.5],
        "recess_confidence": [0.125, 0.375] if k else None,
    }
    for k, level in enumerate(LEVELS)
}


@pytest.fixture
def report():
    return StudyReport("7", landmarks=LANDMARKS)


def test_each_row_has_its_parts_and_the_confidence_of_its_place(report):
    members = [("one", "other"), ()] * 12 + [("one",)]
    rows = grade_rows("7", prior(), members, report)
    assert [tuple(row) for row in rows] == [GRADE_COLUMNS] * 25
    names = ["_".join(filter(None, (row["side"], row["condition"], row["level"]))) for row in rows]
    assert tuple(names) == ROWS
    assert [row["source"] == "kernel" for row in rows] == [bool(names) for names in members]
    assert [row["members"] for row in rows][-3:] == ["one;other", "", "one"]
    assert {row["confidence"] for row in rows if "foraminal" in row["condition"] and row["side"] == "left"} == {0.25}
    assert [row["confidence"] for row in rows if row["condition"] == "spinal_canal_stenosis"] == pytest.approx(
        [0.9, 0.8, 0.7, 0.6, 0.5]
    )
    recesses = [row["confidence"] for row in rows if row["condition"] == "subarticular_stenosis"]
    assert recesses == ["", *[0.125] * 4, "", *[0.375] * 4]
    likely = np.argmax(prior() / SEVERITY_WEIGHTS, axis=1)
    assert [row["grade"] for row in rows] == [SEVERITIES[k] for k in likely]


def test_points_without_an_axial_slice_are_absent(report):
    points = [(row["level"], row["point"]) for row in landmark_rows(report)]
    assert len(points) == 3 + 4 * 5
    assert ("l1_l2", "left_recess") not in points
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
