import numpy as np
import pandas as pd
import pytest

from evaluation.study_truth import (
    GRADES_TABLE,
    MARKS_TABLE,
    StudyLabels,
    along_the_spine,
    marked_points,
    read_labels,
    truth_of,
)
from lumbar_kernel.phantom import make_phantom
from lumbar_kernel.phantom.write import COORDINATE_COLUMNS, coordinate_rows
from lumbar_kernel.schema import PLACES, ROWS, SEVERITY_NAMES, SUBARTICULAR


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(12, study_id="12")


@pytest.fixture(scope="module")
def marks(phantom):
    return pd.DataFrame(coordinate_rows(phantom), columns=COORDINATE_COLUMNS)


@pytest.fixture(scope="module")
def labels(phantom):
    return {row: SEVERITY_NAMES[grade] for row, grade in zip(ROWS, phantom.truth.grades, strict=True)}


def test_marks_lead_back_to_the_points_in_the_patient(phantom, marks):
    points = marked_points(phantom.study, marks)
    for name, true in (("canal", phantom.truth.canal), ("foramen", phantom.truth.foramina)):
        error = np.linalg.norm(points[name] - true, axis=-1)
        marked = ~np.isnan(error)
        assert marked.mean() > 0.7, name
        assert error[marked].max() < 6, name  # half a slice and a pixel


def test_truth_has_the_labelled_grades_and_cranial_normals(phantom, marks, labels):
    truth = truth_of(phantom.study, StudyLabels(marks, labels))
    assert np.array_equal(truth.grades, phantom.truth.grades)
    assert np.all(truth.disc_normal[:, 2] > 0.6)
    assert np.linalg.norm(truth.disc_normal, axis=1) == pytest.approx(np.ones(5))
    assert np.all(truth.disc_margin[:, 1] < truth.canal[:, 1])  # LPS: the margin lies in front of the canal


def test_unlabelled_rows_are_minus_one(phantom, marks, labels):
    partly = labels | {ROWS[3]: None, ROWS[7]: float("nan")}
    grades = truth_of(phantom.study, StudyLabels(marks, partly)).grades
    assert np.flatnonzero(grades < 0).tolist() == [3, 7]


def test_other_words_and_absent_columns_are_no_unlabelled_rows(phantom, marks, labels):
    with pytest.raises(ValueError, match="'MILD' is none of the grades"):
        truth_of(phantom.study, StudyLabels(marks, labels | {ROWS[3]: "MILD"}))
    with pytest.raises(KeyError, match=ROWS[3]):
        truth_of(phantom.study, StudyLabels(marks, {row: grade for row, grade in labels.items() if row != ROWS[3]}))


def test_levels_without_a_mark_are_not_a_number_and_two_marks_are_no_truth(phantom, marks, labels):
    canal = marks["condition"].str.contains("Canal")
    two = marks[~canal | marks["level"].isin(["L1/L2", "L2/L3"])]
    assert truth_of(phantom.study, StudyLabels(two, labels)) is None
    four = marks[~canal | (marks["level"] != "L5/S1")]
    truth = truth_of(phantom.study, StudyLabels(four, labels))
    assert np.isnan(truth.canal[4]).all()
    assert np.isfinite(truth.canal[:4]).all()


def test_labels_are_those_of_studies_that_both_tables_hold(marks, tmp_path):
    pd.concat([marks, marks.assign(study_id="7")]).to_csv(tmp_path / MARKS_TABLE, index=False)
    (tmp_path / GRADES_TABLE).write_text(f"study_id,{ROWS[0]},{ROWS[1]}\n12,Severe,\n8,Moderate,Severe\n")
    found = read_labels(tmp_path)
    assert set(found) == {"12"}
    assert len(found["12"].marks) == len(marks)
    assert found["12"].grades[ROWS[0]] == "Severe"
    assert np.isnan(found["12"].grades[ROWS[1]])


def test_marks_of_absent_series_are_skipped(phantom, marks):
    elsewhere = marks.assign(series_id="0")
    assert all(np.isnan(found).all() for found in marked_points(phantom.study, elsewhere).values())


@pytest.mark.parametrize("column", ["condition", "level"])
def test_a_mark_of_an_unknown_condition_or_level_is_refused(phantom, marks, column):
    with pytest.raises(KeyError, match="elsewhere"):
        marked_points(phantom.study, marks.assign(**{column: "elsewhere"}))


def test_a_condition_of_another_place_is_not_taken_for_a_recess(phantom, marks, monkeypatch):
    monkeypatch.setitem(PLACES, SUBARTICULAR, "facet")
    with pytest.raises(KeyError, match="facet"):
        marked_points(phantom.study, marks)


@pytest.mark.parametrize("column", ["series_id", "instance_number", "x"])
def test_a_mark_without_a_place_costs_no_other_mark(phantom, marks, labels, column, tmp_path, caplog):
    torn = marks.astype({column: object})
    torn.loc[torn.index[-1], column] = None
    torn.to_csv(tmp_path / MARKS_TABLE, index=False)
    pd.DataFrame([{"study_id": "12"} | labels]).to_csv(tmp_path / GRADES_TABLE, index=False)
    found = read_labels(tmp_path)["12"]
    assert f"1 of {len(marks)} marks lack" in caplog.text
    wanted = truth_of(phantom.study, StudyLabels(marks.iloc[:-1], labels))
    assert np.array_equal(truth_of(phantom.study, found).recesses, wanted.recesses, equal_nan=True)


def test_a_highest_level_without_a_mark_hardly_turns_the_disc_below_it(phantom, marks, labels):
    absent = marks["condition"].str.contains("Canal") & (marks["level"] == "L1/L2")
    whole, partly = (truth_of(phantom.study, StudyLabels(own, labels)) for own in (marks, marks[~absent]))
    assert np.degrees(np.arccos(min(1.0, float(whole.disc_normal[1] @ partly.disc_normal[1])))) < 6
    assert np.linalg.norm(whole.disc_margin[1] - partly.disc_margin[1]) < 0.6


@pytest.mark.parametrize("absent", [0, 4])
def test_an_end_level_without_a_mark_is_sought_where_the_spine_goes_on(absent):
    for seed in range(4):
        canal = make_phantom(seed, study_id="1", roles=()).truth.canal
        partly = canal.copy()
        partly[absent] = np.nan
        assert np.linalg.norm(along_the_spine(partly)[absent] - canal[absent]) < 16


def test_a_level_between_marks_lies_between_them_and_marks_stay():
    points = np.array([[0, 0, 8], [np.nan] * 3, [0, 2, 4], [np.nan] * 3, [np.nan] * 3])
    filled = along_the_spine(points)
    assert filled.tolist() == [[0, 0, 8], [0, 1, 6], [0, 2, 4], [0, 3, 2], [0, 4, 0]]


def test_two_marks_at_one_place_are_no_error(phantom, marks, labels):
    canal = marks["condition"].str.contains("Canal")
    doubled = marks.copy()
    place = ["series_id", "instance_number", "x", "y"]
    first, second = marks.index[canal & marks["level"].isin(["L1/L2", "L2/L3"])]
    doubled.loc[second, place] = doubled.loc[first, place].to_numpy()
    assert np.isfinite(truth_of(phantom.study, StudyLabels(doubled, labels)).disc_normal).all()
