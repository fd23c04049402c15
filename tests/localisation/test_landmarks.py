from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.errors import LocalisationError
from lumbar_kernel.localisation import landmarks
from lumbar_kernel.localisation.landmarks import FORAMEN_LATERAL_MM, decode, disc_normals, find_foramina, localise
from lumbar_kernel.localisation.slice_maps import FORAMINA, FRAME, POINTS, SliceMaps, frame_of
from lumbar_kernel.models.heatmap_net import STRIDE, cells_at
from lumbar_kernel.schema import SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import Study
from tests.conftest import make_slice


def perfect_maps(slices, truth, *, reach=4.0):
    """Maps of a net that knows the truth: all its probability in the cell of a landmark near the slice."""
    predicted = []
    for item in slices:
        grid, maps = frame_of(item), np.zeros((POINTS, FRAME // STRIDE, FRAME // STRIDE), np.float32)
        for level in range(5):
            for channel, points in ((level, truth.disc_margin[level][None]), (5 + level, truth.foramina[level])):
                for point in points:
                    distance = abs(float(item.plane.distance(point)))
                    row, column = np.rint(cells_at(grid.to_pixel(point))).astype(int)
                    if distance < reach and min(row, column) >= 0 and max(row, column) < FRAME // STRIDE:
                        maps[channel, row, column] = 1 - distance / (reach + 1)
        predicted.append(SliceMaps(grid, maps))
    return predicted


@pytest.mark.parametrize("roles", [(SAGITTAL_T1, SAGITTAL_T2), (SAGITTAL_T1,), (SAGITTAL_T2,)])
def test_perfect_maps_give_the_true_landmarks_from_either_series_or_both(phantom, roles):
    maps = {role: perfect_maps(phantom.study.slices(role), phantom.truth) for role in roles}
    found = decode(maps.get(SAGITTAL_T1, []), maps.get(SAGITTAL_T2, []))
    assert np.linalg.norm(found.disc_margin - phantom.truth.disc_margin, axis=1).max() < 4.5
    assert np.linalg.norm(found.foramina - phantom.truth.foramina, axis=2).max() < 6
    assert found.evidence.min() > 0.5
    assert found.confidence.min() > 0.5


def test_what_t2_shows_of_a_foramen_is_no_evidence_of_what_t1_shows(phantom):
    t2 = perfect_maps(phantom.study.slices(SAGITTAL_T2), phantom.truth)
    blank = [
        replace(item, maps=np.zeros_like(item.maps))
        for item in perfect_maps(phantom.study.slices(SAGITTAL_T1), phantom.truth)
    ]
    found, alone = decode(blank, t2), decode([], t2)
    assert np.allclose(found.foramina, alone.foramina)
    assert not found.foramen_evidence.any()
    assert alone.foramen_evidence.min() > 0.3


def test_left_foramina_lie_left(phantom):
    found = decode(perfect_maps(phantom.study.slices(SAGITTAL_T1), phantom.truth), [])
    assert (found.foramina[:, 0, 0] > found.canal[:, 0]).all()
    assert (found.foramina[:, 1, 0] < found.canal[:, 0]).all()


def test_foramina_without_evidence_are_placed_by_geometry_and_say_so(phantom):
    maps = perfect_maps(phantom.study.slices(SAGITTAL_T2), phantom.truth)
    silent = [SliceMaps(item.grid, np.where(np.arange(POINTS)[:, None, None] < 5, item.maps, 0)) for item in maps]
    found = decode([], silent)
    assert not found.foramen_evidence.any()
    assert found.foramen_confidence.max() < 0.2
    assert np.linalg.norm(found.foramina - phantom.truth.foramina, axis=2).max() < 20


def test_disc_normals_point_cranially_and_follow_the_bend():
    straight = np.array([[0.0, 0, -30 * k] for k in range(5)])
    assert np.allclose(disc_normals(straight), [0, 0, 1])
    bent = straight + np.array([[0.0, 3.0 * k * k, 0] for k in range(5)])
    lean = np.degrees(np.arctan2(-disc_normals(bent)[:, 1], disc_normals(bent)[:, 2]))
    assert (np.diff(lean) > 0).all()


def test_a_study_without_sagittal_series_is_refused():
    with pytest.raises(LocalisationError, match="no sagittal series"):
        localise(Study("7", ()), [])


def test_the_end_discs_continue_the_bend_of_the_others():
    angles = np.radians(np.arange(-20, 21, 10))  # discs along an arc, each turned by ten degrees more
    margin = 170 * np.stack([np.zeros(5), np.cos(angles), -np.sin(angles)], axis=1)
    lean = np.degrees(np.arctan2(*disc_normals(margin)[:, 1:].T))
    assert np.allclose(np.diff(lean), np.diff(lean).mean(), atol=0.2)
    assert abs(np.diff(lean).mean()) == pytest.approx(10, abs=0.2)


MARGIN = np.array([[0.0, 0.0, -32.0 * level] for level in range(5)])

USUAL = np.array(FORAMEN_LATERAL_MM)


def maps_with(marks, *, channels=1):
    """A sagittal slice of 4 mm cells through each mark, (level, x, y, z, probability), on the channels from the first.

    Places are rounded to cells.
    """
    found = []
    for level, *place, probability in marks:
        item = make_slice(origin=(place[0], -128, 64), shape=(256, 256))
        maps = SliceMaps(frame_of(item), np.zeros((POINTS, FRAME // STRIDE, FRAME // STRIDE), np.float32))
        row, column = np.rint(cells_at(maps.grid.to_pixel(np.array(place)))).astype(int)
        maps.maps[channels + level, row, column] = probability
        found.append(maps)
    return found


def foramina_of(marks):
    """The left foramen of L3/L4 and its evidence, for marks (x, y, z, probability) about its expected place."""
    expected = maps_with([(0, *MARGIN[2], 1.0)])[0].cell_centres(*np.array([[40], [32]]))[0] * (0, 1, 1)
    marks = [(2, x, expected[1] + y, expected[2] + z, probability) for x, y, z, probability in marks]
    places, evidence = find_foramina([maps_with(marks, channels=FORAMINA.start)], np.tile(expected, (5, 1)))
    return places[2, 0] - expected, evidence[2, 0]


@pytest.mark.parametrize(
    "mark", [(3.0, 0, 0, 1.0), (-16.4, 0, 0, 1.0), (16.4, 0, 24, 1.0), (16.4, -24, 0, 1.0), (16.4, 0, 0, 0.08)]
)
def test_no_evidence_of_the_canal_the_other_side_another_level_or_hardly_any_is_that_of_a_foramen(mark):
    place, evidence = foramina_of([mark])
    assert place == pytest.approx([USUAL[2], 0, 0])
    assert evidence == 0


@pytest.mark.parametrize("mark", [(13.0, 0, 0, 1.0), (21.0, 8, -8, 0.9), (16.4, 0, 16, 0.25)])
def test_evidence_in_reach_places_a_foramen(mark):
    place, evidence = foramina_of([mark])
    assert place == pytest.approx(mark[:3])
    assert evidence == pytest.approx(mark[3])


def test_of_two_places_that_of_the_usual_distance_wins_over_a_somewhat_stronger_one():
    place, _ = foramina_of([(16.4, 0, 0, 0.6), (28.4, 0, 0, 0.9)])
    assert abs(place[0] - 16.4) < 2


def test_a_second_peak_does_not_shift_a_foramen():
    place, _ = foramina_of([(16.4, 0, 0, 0.9), (16.4, 0, 16, 0.6)])
    assert abs(place[2]) < 0.5


def test_a_strong_neighbourhood_beats_one_strong_cell():
    place, _ = foramina_of([(16.4, 0, 0, 0.6), (15.0, 0, 4, 0.6), (18.0, 4, 0, 0.6), (16.4, 0, -16, 0.8)])
    assert place[2] > -1


def test_a_slice_that_shows_a_foramen_clearly_counts_more_than_its_share():
    place, _ = foramina_of([(14.4, 0, 0, 0.9), (18.4, 0, 0, 0.3)])
    assert 14.4 < place[0] < 14.4 + 0.15 * 4


def test_the_evidence_of_a_foramen_that_several_slices_show_is_at_most_one():
    assert foramina_of([(14.4, 0, 0, 0.9), (18.4, 0, 0, 0.9)])[1] == 1


@pytest.mark.parametrize(("seen", "middle"), [(0.5, 6.0), (0.2, 0.0)])
def test_foramina_on_t1_are_looked_for_beside_the_canal_that_t1_shows_if_it_shows_it(seen, middle):
    t1 = maps_with([(level, 6.0, *place[1:], seen) for level, place in enumerate(MARGIN)], channels=0)
    t2 = maps_with([(level, -6.0, *place[1:], seen) for level, place in enumerate(MARGIN)], channels=0)
    found = decode(t1, t2)
    assert np.allclose(found.disc_margin[:, 0], 0, atol=1e-6)
    assert np.allclose(found.foramina[:, :, 0].mean(axis=1), middle)
    assert np.allclose(np.ptp(found.foramina[:, :, 0], axis=1), 2 * USUAL)


def test_foramina_that_only_t2_shows_are_not_trusted_where_there_is_t1(phantom):
    t1, t2 = (perfect_maps(phantom.study.slices(role), phantom.truth) for role in (SAGITTAL_T1, SAGITTAL_T2))
    blank = [replace(item, maps=np.zeros_like(item.maps)) for item in t1]
    assert decode(blank, t2).foramen_confidence.max() < 0.2 < decode([], t2).foramen_confidence.min()


def test_levels_that_one_series_cuts_off_and_the_other_shows_are_trusted(phantom, monkeypatch):
    monkeypatch.setattr(landmarks, "slice_maps", lambda slices, nets: perfect_maps(slices, phantom.truth))
    trusted = localise(phantom.study, []).confidence
    monkeypatch.setattr(landmarks, "doubt_of_count", lambda slices, margin: "cut off" if len(slices) < count else None)
    count = len(phantom.study.slices(SAGITTAL_T1)) + len(phantom.study.slices(SAGITTAL_T2))
    assert np.array_equal(localise(phantom.study, []).confidence, trusted)
    count += 1
    assert np.allclose(localise(phantom.study, []).confidence, 0.5 * trusted)


def test_the_canal_lies_behind_the_margin_and_foramina_behind_and_above_it(phantom):
    found = decode([], maps_with([(level, *place, 1.0) for level, place in enumerate(MARGIN)], channels=0))
    assert (found.canal[:, 1] > found.disc_margin[:, 1] + 3).all()
    assert (found.foramina[:, :, 1] > found.disc_margin[:, None, 1] + 1).all()
    assert (found.foramina[:, :, 2] > found.disc_margin[:, None, 2] + 1).all()
