import numpy as np

from lumbar_kernel.grading.ensemble import row_confidence
from lumbar_kernel.localisation.landmarks import Landmarks
from lumbar_kernel.results.study_report import nothing_usable, study_report
from lumbar_kernel.schema import AXIAL_T2, FORAMINAL, LEVELS, ROWS, group_of
from lumbar_kernel.study import Study


def unsure(landmarks, *, level, foramen):
    return Landmarks(**{**landmarks.__dict__, "confidence": level, "foramen_confidence": foramen})


def test_landmarks_are_told_by_level_and_side(phantom, landmarks, views):
    told = study_report(phantom.study, views, (), landmarks=landmarks).landmarks
    assert list(told) == list(LEVELS)
    for k, level in enumerate(LEVELS):
        assert np.allclose(told[level]["canal"], landmarks.canal[k], atol=0.01)
        assert told[level]["foramina"]["left"][0] > told[level]["foramina"]["right"][0]
        assert told[level]["axial_instance_number"] == views[k].item.instance_number


def test_what_is_missing_is_said(phantom, landmarks, views):
    study = phantom.study
    without = Study(study.study_id, tuple(s for s in study.series if s.role != AXIAL_T2), ("a.dcm: cut off",))
    told = study_report(without, (None,) * 5, (), landmarks=landmarks).missing
    assert told == (f"no {AXIAL_T2} series", "a.dcm: cut off")
    gap = (None, *views[1:])
    assert study_report(study, gap, (), landmarks=landmarks).missing == ("no axial slice at L1/L2",)


def test_an_unlocated_study_has_no_landmarks(phantom):
    told = study_report(phantom.study, (), ())
    assert told.landmarks is None
    assert told.confidence is None


def test_unsure_levels_and_foramina_are_trusted_less(landmarks):
    level, foramen = np.array([1.0, 1.0, 0.1, 1.0, 1.0]), np.ones((5, 2))
    foramen[4, 1] = 0.0
    trust = dict(zip(ROWS, row_confidence(unsure(landmarks, level=level, foramen=foramen)), strict=True))
    for row, value in trust.items():
        if row.endswith("l3_l4"):
            assert value < 0.5
        elif row == "right_neural_foraminal_narrowing_l5_s1":
            assert value == 0.5
        else:
            assert value == 1.0
    assert any(group_of(row) == FORAMINAL for row in trust)


def test_a_study_without_series_says_why():
    assert "a.dcm: text" in nothing_usable(Study("7", (), ("a.dcm: text",)))
    assert "no file" in nothing_usable(Study("7", ()))
