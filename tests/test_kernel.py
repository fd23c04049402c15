import csv

import cv2
import numpy as np
import pandas as pd
import pytest

from lumbar_kernel import Config, Kernel, predict, read_studies
from lumbar_kernel.errors import ConfigError, LocalisationError, StudyError
from lumbar_kernel.results.submission import load_submission
from lumbar_kernel.results.tables import GRADE_COLUMNS, LANDMARK_COLUMNS
from lumbar_kernel.schema import ROWS, SAGITTAL_T2, row_ids
from lumbar_kernel.study import Series, Study


@pytest.fixture(scope="module")
def kernel(trained):
    return Kernel(weights=trained, device="cpu")


@pytest.fixture(scope="module")
def run(dataset, trained, tmp_path_factory):
    config = Config(data=dataset, output=tmp_path_factory.mktemp("run"), weights=trained, progress=False, workers=0)
    predict(config)
    return config


@pytest.fixture(scope="module")
def grades(kernel, phantom):
    return kernel.grade(phantom.study)


def test_a_study_gets_the_grades_of_a_run(kernel, run, dataset):
    submission = load_submission(run.submission_path)
    for study in read_studies(dataset):
        expected = np.array([submission[row] for row in row_ids(study.study_id)])
        assert kernel.grade(study).probabilities == pytest.approx(expected, abs=1e-4)


def test_tables_are_those_that_a_run_writes(kernel, run, dataset):
    graded = [kernel.grade(study) for study in read_studies(dataset)]
    for name, columns, rows in (
        ("grades.csv", GRADE_COLUMNS, [row for one in graded for row in one.rows()]),
        ("landmarks.csv", LANDMARK_COLUMNS, [row for one in graded for row in one.points()]),
    ):
        with (run.output / name).open(newline="") as file:
            reader = csv.DictReader(file)
            written = list(reader)
        assert tuple(reader.fieldnames) == columns
        assert len(written) == len(rows)
        for line, row in zip(written, rows, strict=True):
            for column in columns:
                if isinstance(row[column], float):
                    assert float(line[column]) == pytest.approx(row[column], abs=0.02), (name, column)
                else:
                    assert line[column] == row[column]


def test_grades_are_probabilities_with_their_origin(grades):
    assert grades.probabilities.sum(axis=1) == pytest.approx(np.ones(25))
    assert grades.graded.all()
    assert ((grades.weight > 0) & (grades.weight <= 1)).all()
    table = pd.DataFrame(grades.rows())
    assert len(table) == len(ROWS)
    assert set(table["source"]) == {"kernel"}


def test_landmarks_are_near_the_truth(grades, phantom):
    assert np.linalg.norm(grades.landmarks.canal - phantom.truth.canal, axis=1).max() < 6
    points = pd.DataFrame(grades.points())
    assert set(points["point"]) >= {"canal", "left_foramen", "right_foramen", "left_recess", "right_recess"}


def test_a_study_of_arrays_with_geometry_is_graded(kernel, phantom):
    """Slices need pixels and a plane, nothing of DICOM; what no series shows holds the prior."""
    t2 = Series("mine", SAGITTAL_T2, phantom.study.slices(SAGITTAL_T2))
    grades = kernel.grade(Study("arrays", (t2,)))
    canal = ["spinal_canal" in row for row in ROWS]
    assert np.array_equal(grades.graded, canal)
    assert {row["source"] for row in grades.rows()} == {"kernel", "prior"}
    assert "no Axial T2 series" in grades.report.missing


def test_the_picture_is_drawn(grades, tmp_path):
    path = grades.draw(tmp_path)
    assert path == tmp_path / f"{grades.study.study_id}.jpg"
    assert cv2.imread(str(path)).size


def test_what_cannot_be_graded_is_an_error(kernel, dataset, tmp_path, phantom):
    with pytest.raises(ConfigError, match="holds 2 studies"):
        kernel.grade(dataset)
    with pytest.raises(ConfigError, match="holds 0 studies"):
        kernel.grade(tmp_path)
    with pytest.raises(StudyError, match="no usable series"):
        kernel.grade(Study("1", ()))
    axial = tuple(item for item in phantom.study.series if item.role == "Axial T2")
    with pytest.raises(LocalisationError, match="no sagittal series"):
        kernel.grade(Study("1", axial))
    with pytest.raises(ConfigError, match="does not work"):
        Kernel(device="cuda:99")
