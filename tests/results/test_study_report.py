from dataclasses import replace

import numpy as np

from lumbar_kernel.geometry import CRANIAL, LEFT
from lumbar_kernel.results.report import UnusedSeries
from lumbar_kernel.results.study_report import nothing_usable, study_report
from lumbar_kernel.schema import AXIAL_T2, LEVEL_NAMES, LEVELS, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import Series, SeriesDecision, Study


def test_landmarks_are_listed_by_level_and_side(phantom, landmarks, views):
    found = study_report(phantom.study, views, (), landmarks=landmarks).landmarks
    assert list(found) == list(LEVELS)
    for k, level in enumerate(LEVELS):
        assert np.allclose(found[level].canal, landmarks.canal[k], atol=0.01)
        assert found[level].foramina["left"][0] > found[level].foramina["right"][0]
        assert found[level].axial_instance_number == views[k].item.instance_number
        series = next(item for item in phantom.study.series if item.series_id == found[level].axial_series_id)
        assert any(item is views[k].item for item in series.slices)


def test_missing_data_are_listed(phantom, landmarks, views):
    study = phantom.study
    without = Study(study.study_id, tuple(s for s in study.series if s.role != AXIAL_T2), ("a.dcm: cut off",))
    missing = study_report(without, (None,) * 5, (), landmarks=landmarks).missing
    assert missing == (f"no {AXIAL_T2} series", "a.dcm: cut off")
    gap = (None, *views[1:])
    assert study_report(study, gap, (), landmarks=landmarks).missing == ("no axial slice at L1/L2",)


def test_what_no_sagittal_slice_shows_is_listed(phantom, landmarks, views):
    left = tuple(item for item in phantom.study.slices(SAGITTAL_T1) if item.plane.centre @ LEFT > 8.0)
    series = (Series("1", SAGITTAL_T1, left), *phantom.study.series_of(SAGITTAL_T2), *phantom.study.series_of(AXIAL_T2))
    missing = study_report(Study("1", series), views, (), landmarks=landmarks).missing
    assert missing == tuple(f"no sagittal T1 slice at the right foramen of {name}" for name in LEVEL_NAMES)
    low = replace(landmarks, canal=landmarks.canal - 400 * CRANIAL)
    missing = study_report(phantom.study, views, (), landmarks=low).missing
    assert missing == tuple(f"no sagittal T2 slice at the canal of {name}" for name in LEVEL_NAMES)


def test_blank_slices_are_listed(phantom, landmarks, views):
    item = views[2].item
    blank = replace(item, pixels=np.zeros_like(item.pixels))
    seen = (*views[:2], replace(views[2], item=blank), *views[3:])
    assert study_report(phantom.study, seen, (), landmarks=landmarks).missing == (
        "nothing on the axial slice at L3/L4",
    )
    series = tuple(
        replace(each, slices=tuple(replace(item, pixels=np.zeros_like(item.pixels)) for item in each.slices))
        if each.role == SAGITTAL_T1
        else each
        for each in phantom.study.series
    )
    missing = study_report(replace(phantom.study, series=series), views, (), landmarks=landmarks).missing
    assert len(missing) == 10
    assert missing[0] == "nothing on the sagittal T1 slice at the left foramen of L1/L2"


def test_points_are_given_where_the_files_of_their_series_have_them(phantom, landmarks, views):
    moves = {AXIAL_T2: np.array([0.0, 0.0, 33.0]), SAGITTAL_T1: np.array([5.0, 0.0, 0.0])}
    found = study_report(phantom.study, views, (), landmarks=landmarks, moves=moves).landmarks
    for k, level in enumerate(LEVELS):
        assert np.allclose(found[level].canal, landmarks.canal[k], atol=0.01)
        assert np.allclose(found[level].recesses["left"], views[k].recesses[0] - moves[AXIAL_T2], atol=0.01)
        assert np.allclose(found[level].foramina["right"], landmarks.foramina[k, 1] - moves[SAGITTAL_T1], atol=0.01)


def test_decisions_are_reported_with_their_reasons(phantom):
    used = phantom.study.series[0]
    decisions = (
        SeriesDecision(used.series_id, used.role, "T1 by SeriesDescription", "T1 SAG"),
        SeriesDecision("9", None, "a localiser by SeriesDescription", "localizer"),
    )
    report = study_report(Study("1", (used,), (), decisions), (), ())
    assert (report.series[0].description, report.series[0].reason) == ("T1 SAG", "T1 by SeriesDescription")
    assert report.unused == (UnusedSeries("9", "localizer", "a localiser by SeriesDescription"),)
    assert "a localiser" in nothing_usable(Study("1", (), (), decisions[1:]))


def test_an_unlocated_study_has_no_landmarks(phantom):
    report = study_report(phantom.study, (), ())
    assert report.landmarks is None
    assert report.confidence is None


def test_a_study_without_series_has_a_reason():
    assert "a.dcm: text" in nothing_usable(Study("7", (), ("a.dcm: text",)))
    assert "no file" in nothing_usable(Study("7", ()))


def test_a_recess_is_no_surer_than_its_level(phantom, landmarks, views):
    doubted = replace(landmarks, confidence=np.array([0.9, 0.5, 0.5, 0.5, 0.1]))
    found = study_report(phantom.study, views, (), landmarks=doubted).landmarks
    for k, level in enumerate(LEVELS):
        assert np.allclose(found[level].recess_confidence, doubted.confidence[k] * views[k].confidence, atol=1e-3)


def test_levels_that_may_be_counted_wrongly_are_told(phantom, landmarks, views):
    low = replace(landmarks, disc_margin=landmarks.disc_margin - 400 * CRANIAL)
    missing = study_report(phantom.study, views, (), landmarks=low).missing
    assert missing == ("the sagittal slices end near L5/S1: levels may be counted wrongly",)


def test_a_study_without_series_has_three_reasons_at_most():
    decisions = tuple(SeriesDecision(str(k), None, f"reason {k}") for k in range(5))
    text = nothing_usable(Study("7", (), ("a.dcm: text",), decisions))
    assert [f"reason {k}" in text for k in range(5)] == [True, True, False, False, False]
