from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.localisation.series_shift import DOUBT, Alignment, align_series
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import Study


def moved(study, role, *millimetres):
    offset = np.array(millimetres, float)
    return replace(
        study,
        series=tuple(
            replace(
                series,
                slices=tuple(
                    replace(item, plane=replace(item.plane, origin=item.plane.origin + offset))
                    for item in series.slices
                ),
            )
            if series.role == role
            else series
            for series in study.series
        ),
    )


def origins(study, role):
    return np.array([item.plane.origin for item in study.slices(role)])


def test_a_patient_who_lay_still_is_left_alone(phantom):
    alignment = align_series(phantom.study)
    assert alignment.study is phantom.study
    assert not alignment.doubtful


@pytest.mark.parametrize("millimetres", [(0, 0, 33), (20, 0, 0), (15, -20, 22)])
def test_axial_slices_are_put_back_where_they_fit(phantom, millimetres):
    alignment = align_series(moved(phantom.study, AXIAL_T2, *millimetres))
    off = origins(alignment.study, AXIAL_T2) - origins(phantom.study, AXIAL_T2)
    assert np.abs(off).max() <= 6
    assert "the patient moved: Axial T2" in alignment.study.problems[0]


def test_sagittal_t1_is_put_back_alone(phantom):
    alignment = align_series(moved(phantom.study, SAGITTAL_T1, 0, 12, 33))
    assert np.array_equal(origins(alignment.study, AXIAL_T2), origins(phantom.study, AXIAL_T2))
    assert np.abs(origins(alignment.study, SAGITTAL_T1) - origins(phantom.study, SAGITTAL_T1)).max() <= 6
    assert np.array_equal(origins(alignment.study, SAGITTAL_T2), origins(phantom.study, SAGITTAL_T2))


@pytest.mark.parametrize("millimetres", [(0, 0, -33), (0, 0, 25)])
def test_axial_slices_and_t1_follow_a_t2_that_was_moved_alone(phantom, millimetres):
    alignment = align_series(moved(phantom.study, SAGITTAL_T2, *millimetres))
    for role in (AXIAL_T2, SAGITTAL_T1):
        off = origins(alignment.study, role) - origins(phantom.study, role) - millimetres
        assert np.abs(off).max() <= 6
        assert np.allclose(alignment.moves[role], millimetres, atol=6)
    assert SAGITTAL_T2 not in alignment.moves


def test_slices_of_another_patient_are_doubted_or_left_alone(phantom):
    rng = np.random.default_rng(0)
    noise = tuple(
        replace(item, pixels=rng.gamma(2, 100, item.pixels.shape).astype(np.float32))
        for item in phantom.study.slices(AXIAL_T2)
    )
    series = tuple(
        replace(item, slices=noise[: len(item.slices)]) if item.role == AXIAL_T2 else item
        for item in phantom.study.series
    )
    alignment = align_series(Study("1", series))
    assert np.array_equal(origins(alignment.study, AXIAL_T2), origins(Study("1", series), AXIAL_T2))


def test_doubt_lowers_the_confidence(landmarks, phantom):
    assert np.allclose(Alignment(phantom.study, True).confidence_in(landmarks).confidence, DOUBT * landmarks.confidence)
    assert Alignment(phantom.study, False).confidence_in(landmarks) is landmarks
