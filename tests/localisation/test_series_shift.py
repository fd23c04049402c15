from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.localisation import series_shift
from lumbar_kernel.localisation.series_shift import Alignment, align_series
from lumbar_kernel.resampling import sample
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import Study
from tests.conftest import make_slice


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
    assert np.allclose(Alignment(phantom.study, True).confidence_in(landmarks).confidence, 0.5 * landmarks.confidence)
    assert Alignment(phantom.study, False).confidence_in(landmarks) is landmarks


STAYS, MOVES, DOUBTED = (-0.2, 0.2), (0.2, 0.2), (0.0, 0.2)
"""Gain and uniqueness of series that belong where they lie, clearly elsewhere, and neither."""


@pytest.fixture
def aligned(phantom, monkeypatch):
    """The alignment of the phantom if its axial slices fit T1 and T2 so: gain and uniqueness, and a move."""

    def align(t1, t2, *, move_t1=(0.0, 0.0, 33.0), move_t2=(0.0, 0.0, 33.0), study=phantom.study):
        fits = iter([fit and series_shift._Fit(move, *fit) for fit, move in ((t1, move_t1), (t2, move_t2))])
        monkeypatch.setattr(series_shift, "_axial_points", lambda axial: None)
        monkeypatch.setattr(series_shift, "_fit", lambda axial, sagittal: next(fits))
        return align_series(study)

    return align


@pytest.mark.parametrize(
    ("fit", "moved", "doubtful"),
    [
        (None, False, False),
        ((-0.04, 0.2), False, False),
        ((-0.02, 0.2), False, True),
        ((0.07, 0.2), False, True),
        ((0.09, 0.04), False, True),
        ((0.09, 0.06), True, False),
    ],
)
def test_slices_are_moved_where_a_place_is_clearly_better_and_the_only_one(aligned, phantom, fit, moved, doubtful):
    alignment = aligned(None, fit)
    assert set(alignment.moves) == ({AXIAL_T2} if moved else set())
    assert alignment.doubtful == doubtful
    assert (alignment.study is phantom.study) == (not moved and not doubtful)
    assert any("are doubted" in text for text in alignment.study.problems) == doubtful


@pytest.mark.parametrize(
    ("t1", "t2", "axial"), [(STAYS, MOVES, 2), (MOVES, STAYS, None), (MOVES, DOUBTED, 1), (MOVES, None, 1)]
)
def test_t2_decides_where_it_can_and_t1_where_it_cannot(aligned, t1, t2, axial):
    moves = aligned(t1, t2, move_t1=(0, 11, 22), move_t2=(0, 0, 33)).moves
    expected = {1: (0, 11, 22), 2: (0, 0, 33), None: (0, 0, 0)}[axial]
    assert np.array_equal(moves.get(AXIAL_T2, np.zeros(3)), expected)


@pytest.mark.parametrize(("apart", "moved"), [(8.0, False), (10.0, True)])
def test_t1_is_moved_to_t2_only_if_it_lies_farther_than_recesses_are_looked_for(aligned, apart, moved):
    moves = aligned(MOVES, MOVES, move_t1=(0, 0, 33), move_t2=(0, 0, 33 + apart)).moves
    assert (SAGITTAL_T1 in moves) == moved
    assert not moved or np.allclose(moves[SAGITTAL_T1], (0, 0, apart))


@pytest.mark.parametrize(
    ("move", "words"),
    [
        ((20.0, 0.4, -33.0), "20 mm left, 33 mm below of where it lies"),
        ((-12.0, 14.0, 0.0), "12 mm right, 14 mm behind of where it lies"),
        ((0.0, -10.0, 33.0), "10 mm in front, 33 mm above of where it lies"),
    ],
)
def test_a_move_is_told_by_its_directions_after_what_was_told_before(aligned, phantom, move, words):
    before = replace(phantom.study, problems=("1.dcm: truncated",))
    alignment = aligned(None, MOVES, move_t2=move, study=before)
    assert alignment.study.problems[0] == "1.dcm: truncated"
    assert words in alignment.study.problems[1]
    doubted = aligned(None, DOUBTED, study=before)
    assert doubted.study.problems[0] == "1.dcm: truncated"
    assert doubted.moves == {}


def test_a_single_axial_slice_two_sagittal_ones_and_noise_say_nothing(phantom):
    axial, sagittal = phantom.study.slices(AXIAL_T2), phantom.study.slices(SAGITTAL_T2)
    points, signals = series_shift._axial_points(axial)
    assert series_shift._fit((points, signals), sagittal[:2]) is None
    assert series_shift._fit(series_shift._axial_points(axial[:1]), sagittal) is None
    noise = np.random.default_rng(0).normal(0, 1, len(signals))
    assert series_shift._fit((points, noise), sagittal) is None


def test_coarser_pixels_lie_where_the_finer_ones_did():
    item = make_slice(spacing=(0.4, 0.7), shape=(200, 120))
    grid = replace(item.plane, origin=item.plane.to_mm(np.array([20.0, 12.0])), shape=(15, 12))
    grid = replace(grid, row_spacing=3.0, column_spacing=3.0)
    reduced = series_shift._reduced(item)
    assert reduced.pixels.size < item.pixels.size / 10
    assert np.allclose(sample(reduced, grid)[1:-1, 1:-1], sample(item, grid)[1:-1, 1:-1], rtol=1e-3)


def test_nothing_is_known_outside_the_frame_of_a_slice():
    item = make_slice(shape=(90, 60))
    grid = replace(item.plane, origin=item.plane.to_mm(np.array([-30.0, -30.0])), shape=(50, 40))
    grid = replace(grid, row_spacing=3.0, column_spacing=3.0)
    inside = item.plane.contains(item.plane.to_pixel(grid.pixel_centres))
    assert np.array_equal(np.isfinite(series_shift._flattened(item, grid)), inside)
    assert 0 < inside.sum() < inside.size


def test_a_move_is_found_to_a_quarter_of_the_grid(phantom):
    sagittal, found = phantom.study.slices(SAGITTAL_T2), []
    moves = np.array([[0, 0, 33], [1.5, -1.5, 34.5], [0.7, -0.8, 33.7]])
    for move in moves:
        slices = moved(phantom.study, AXIAL_T2, *move).slices(AXIAL_T2)
        found.append(series_shift._fit(series_shift._axial_points(slices), sagittal).move)
    assert np.allclose(np.diff(found, axis=0), -np.diff(moves, axis=0), atol=0.7)
