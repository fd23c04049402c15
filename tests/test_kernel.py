import csv
import shutil
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pytest

from lumbar_kernel import Kernel, read_studies
from lumbar_kernel import kernel as module
from lumbar_kernel.errors import ConfigError, LocalisationError, NotFiniteError, StudyError, WeightsError
from lumbar_kernel.localisation.series_shift import Alignment
from lumbar_kernel.results.submission import load_submission
from lumbar_kernel.results.tables import GRADE_COLUMNS, LANDMARK_COLUMNS
from lumbar_kernel.schema import ROWS, SAGITTAL_T2, row_ids
from lumbar_kernel.study import Series, Study


@pytest.fixture(scope="module")
def kernel(light):
    return Kernel(weights=light, device="cpu")


@pytest.fixture(scope="module")
def grades(kernel, phantom):
    return kernel.grade(phantom.study)


def test_a_study_gets_the_grades_of_a_run(kernel, light_run, dataset):
    submission = load_submission(light_run.submission_path)
    for study in read_studies(dataset):
        expected = np.array([submission[row] for row in row_ids(study.study_id)])
        assert kernel.grade(study).probabilities == pytest.approx(expected, abs=1e-4)


def test_tables_are_those_that_a_run_writes(kernel, light_run, dataset):
    graded = [kernel.grade(study) for study in read_studies(dataset)]
    for name, columns, rows in (
        ("grades.csv", GRADE_COLUMNS, [row for one in graded for row in one.rows()]),
        ("landmarks.csv", LANDMARK_COLUMNS, [row for one in graded for row in one.points()]),
    ):
        with (light_run.output / name).open(newline="") as file:
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
    assert np.array_equal(grades.weight > 0, canal)
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


def test_a_pixel_that_is_no_number_is_refused(kernel, phantom):
    t1, *others = phantom.study.series
    spoiled = replace(t1.slices[0], pixels=np.full(t1.slices[0].pixels.shape, np.nan))
    series = replace(t1, slices=(spoiled, *t1.slices[1:]))
    with pytest.raises(NotFiniteError):
        kernel.grade(Study("1", (series, *others)))


def test_a_member_that_is_damaged_is_an_error_here(untrained, tmp_path):
    weights = shutil.copytree(untrained, tmp_path / "weights")
    (weights / "tiny_axial_t2.safetensors").write_bytes(b"damaged")
    with pytest.raises(WeightsError, match="tiny_axial_t2"):
        Kernel(weights=weights, device="cpu")


def test_doubt_about_the_series_counts_and_axial_slices_come_from_a_volume_as_in_a_run(phantom, landmarks, monkeypatch):
    seen = []
    fakes = {
        "align_series": lambda study: Alignment(study, doubtful=True),
        "localise": lambda *_: landmarks,
        "with_reformatted_axials": lambda study, _: replace(study, problems=("reformatted",)),
        "axial_levels": lambda study, *_: seen.append(study.problems) or (study, ()),
        "cut_crops": lambda *_, **__: {},
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(module, name, fake)
    models = SimpleNamespace(sagittal=(), axial=(), manifest=SimpleNamespace(views=()))
    found = module.locate(phantom.study, models)
    assert (found.landmarks.confidence < landmarks.confidence).all()
    assert seen == [("reformatted",)]


@pytest.mark.parametrize("error", [None, ConfigError("the other half")])
def test_what_was_unpacked_exists_while_studies_are_read_and_no_longer(monkeypatch, error):
    events = []

    @contextmanager
    def unpacked(folder):
        yield folder, ""
        events.append("removed")

    def find(_, *, split):
        events.append(split)
        if error:
            raise error
        return ["1", "2"]

    for name, fake in (("unpacked", unpacked), ("find_studies", find), ("read_study", lambda found: found)):
        monkeypatch.setattr(module, name, fake)
    if error:
        with pytest.raises(ConfigError):
            read_studies("folder", split="train")
        return
    assert [events.append(study) for study in read_studies("folder", split="train")] == [None, None]
    assert events == ["train", "1", "2", "removed"]
