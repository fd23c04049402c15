import numpy as np

from benchmarks.phantom.labels import columns
from benchmarks.phantom.oracle import score_answers
from benchmarks.phantom.regression import ALONG, in_slices, measured, regression_predictions
from lumbar_kernel.phantom.grid import VoxelGrid
from lumbar_kernel.schema import CANAL, FORAMINAL


def test_slices_hold_the_commonest_tissue_of_their_voxels():
    axis = np.arange(20, dtype=np.float32)
    ids = np.ones((20, 20, 20), np.uint8)
    ids[:, :, ::3] = 2  # one voxel in three never wins
    found = in_slices(VoxelGrid(axis, axis, axis, ids), ALONG, np.random.default_rng(0)).ids
    assert found.shape == ids.shape
    inner = found[:, :, 7:14]
    assert (inner == 1).all()
    ids[:, :, :] = np.arange(20) // 10 + 1
    found = in_slices(VoxelGrid(axis, axis, axis, ids), ALONG, np.random.default_rng(0)).ids
    assert len(np.unique(found[0, 0])) == 2
    assert 1 <= np.count_nonzero(np.diff(found[0, 0])) <= 1


def test_thick_slices_change_measures_and_leave_the_score_alone():
    made = measured(3)
    again = measured(3)
    assert np.array_equal(made.scores, again.scores)
    for name, fine in made.fine.items():
        assert np.array_equal(made.acquired[name], again.acquired[name])
        assert np.isfinite(made.acquired[name]).all()
        assert fine.shape == made.acquired[name].shape
    assert not np.array_equal(made.fine["sac_area"], made.acquired["sac_area"])
    assert np.array_equal(made.fine["disc_height"], made.acquired["disc_height"])


def test_a_regression_that_knows_what_decides_beats_one_that_does_not():
    rng = np.random.default_rng(0)
    names = measured(3).fine
    known = [{name: rng.normal(size=5) for name in names} for _ in range(120)]
    labels = np.zeros((120, 25), np.int64)
    for level in range(5):
        canal, left, right = (*columns(CANAL, level), *columns(FORAMINAL, level))
        labels[:, canal] = np.digitize([own["crowding"][level] for own in known], (0.3, 1.2))
        labels[:, left] = np.digitize([own["fat_left"][level] for own in known], (0.3, 1.2))
        labels[:, right] = np.digitize([own["fat_right"][level] for own in known], (0.3, 1.2))
    blind = [{**own, **{name: np.zeros(5) for name in ("crowding", "fat_left", "fat_right")}} for own in known]
    sees, guesses = (score_answers(labels, regression_predictions(who, labels))[0] for who in (known, blind))
    assert sees.canal < 0.7 * guesses.canal
    assert sees.foraminal < 0.7 * guesses.foraminal
