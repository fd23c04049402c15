from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.errors import LocalisationError
from lumbar_kernel.localisation.landmarks import decode, disc_normals, localise
from lumbar_kernel.localisation.slice_maps import FRAME, POINTS, SliceMaps, frame_of
from lumbar_kernel.models.heatmap_net import STRIDE, cells_at
from lumbar_kernel.schema import SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import Study


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
