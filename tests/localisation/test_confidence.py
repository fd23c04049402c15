import numpy as np
import pytest

from lumbar_kernel.localisation import confidence
from lumbar_kernel.localisation.slice_maps import SliceMaps, frame_of
from lumbar_kernel.models.heatmap_net import cells_at
from lumbar_kernel.schema import LEVELS, SAGITTAL_T1


@pytest.fixture
def slices(phantom):
    return phantom.study.slices(SAGITTAL_T1)


def maps_of(slices, foramina, *, strength=0.9, level_shift=0, off_mm=0.0):
    """Maps whose foramina have a probability on the two slices nearest to each point, at one cell."""
    maps = [SliceMaps(frame_of(item), np.zeros((10, 64, 64), np.float32)) for item in slices]
    for level in range(len(LEVELS)):
        for point in foramina[level]:
            nearest = np.argsort([abs(float(item.plane.distance(point))) for item in slices])[:2]
            for index in nearest:
                moved = point + np.array([0.0, 0.0, off_mm])
                row, column = np.rint(cells_at(maps[index].grid.to_pixel(moved))).astype(int)
                maps[index].maps[5 + (level + level_shift) % 5, row, column] = strength
    return maps


def test_clear_evidence_at_the_place_is_trusted_and_evidence_elsewhere_is_not(slices, phantom):
    points = phantom.truth.foramina
    clear = confidence.foramen_confidence(maps_of(slices, points), points)
    assert clear.shape == (5, 2)
    assert clear.min() > 0.95
    for doubt in ({"off_mm": 14.0}, {"level_shift": 1}, {"strength": 0.15}):
        assert confidence.foramen_confidence(maps_of(slices, points, **doubt), points).max() < 0.5


def test_evidence_on_the_other_side_does_not_count(slices, phantom):
    points = phantom.truth.foramina
    both_left = np.repeat(points[:, :1], 2, axis=1)
    found = confidence.foramen_confidence(maps_of(slices, both_left), points)
    assert (found[:, 1] < found[:, 0] - 0.2).all()


def test_a_point_that_several_slices_and_no_other_level_support_is_safer(slices, phantom):
    margin = phantom.truth.disc_margin
    maps = [SliceMaps(frame_of(item), np.zeros((10, 64, 64), np.float32)) for item in slices]
    silent = confidence.level_confidence(maps, margin)
    for item in maps:
        for level, point in enumerate(margin):
            row, column = np.rint(cells_at(item.grid.to_pixel(point))).astype(int)
            item.maps[level, row, column] = 0.8
    assert (confidence.level_confidence(maps, margin) > 0.95).all()
    assert (silent < 0.5).all(), "more likely wrong than right"


@pytest.mark.parametrize("model", [confidence.LEVEL, confidence.FORAMEN, confidence.RECESS])
def test_no_model_falls_with_its_evidence(model):
    assert min(model[1:]) >= 0
    features = np.full((2, len(model) - 1), [[0.2], [0.9]])
    low, high = confidence.probability(features, model)
    assert 0 < low < high < 1


def test_recesses_seen_are_trusted_more_than_those_placed_by_geometry():
    unseen, weak, clear = confidence.recess_confidence(np.array([0.0, 0.15, 0.9]))
    assert unseen < 0.5 < weak
    assert clear > 0.95


def test_only_slices_beside_a_foramen_and_evidence_near_it_speak_for_it(slices, phantom):
    points = phantom.truth.foramina
    features = {off: confidence.foramen_features(maps_of(slices, points, off_mm=off), points) for off in (0, 5, 10)}
    assert np.allclose(features[0][..., 0], 0.9)
    assert np.allclose(features[5][..., 0], 0.9)
    assert not features[10][..., 0].any()
    far = points + np.array([12.0, 0, 0])  # three slices away
    assert not confidence.foramen_features(maps_of(slices, points), far)[..., 0].any()


def test_evidence_of_another_level_at_the_place_speaks_against_it(slices, phantom):
    points = phantom.truth.foramina
    maps, others = maps_of(slices, points), maps_of(slices, points, level_shift=1)
    both = [SliceMaps(one.grid, one.maps + other.maps) for one, other in zip(maps, others, strict=True)]
    assert np.allclose(confidence.foramen_features(both, points)[..., 2], 0.5)
    assert (confidence.foramen_confidence(both, points) < confidence.foramen_confidence(maps, points)).all()
