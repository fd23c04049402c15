import numpy as np
import pytest

from training.augment import NOTHING, Spatial, draw_matrix, hide, move_points, vary_signal, warp, without_anatomy


def test_points_move_with_the_picture():
    rng = np.random.default_rng(0)
    spatial = Spatial(shift=0.05, degrees=15, scale=1.2, aspect=1.1)
    for _ in range(20):
        picture, point = np.zeros((80, 100), np.uint8), rng.uniform(30, 50, (1, 2))
        row, column = point[0].round().astype(int)
        picture[row - 1 : row + 2, column - 1 : column + 2] = 255
        matrix = draw_matrix(rng, spatial, picture.shape, (90, 120))
        moved = warp(picture, matrix, (90, 120), border=0)
        found = np.array(np.nonzero(moved > 100)).mean(axis=1)
        assert np.linalg.norm(found - move_points(np.array([[row, column]], float), matrix)[0]) < 1


def test_signal_changes_keep_numbers_finite():
    rng = np.random.default_rng(0)
    for _ in range(40):
        varied = vary_signal(rng.random((40, 50)).astype(np.float32), rng)
        assert varied.shape == (40, 50)
        assert np.isfinite(varied).all()


def test_hiding_spares_the_points_and_covers_much_of_the_rest():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(40):
        picture = rng.random((96, 128)).astype(np.float32)
        points = np.vstack([rng.uniform((30, 40), (60, 80), (5, 2)), [[np.nan, np.nan]]])
        changed = hide(picture, points, rng, room=9.0) != picture
        for row, column in points[:-1].round().astype(int):
            assert not changed[row - 6 : row + 7, column - 6 : column + 7].any()
        covered.append(changed.mean())
    assert np.mean(covered) > 0.1
    nothing = np.full((5, 2), np.nan)
    assert np.array_equal(hide(picture, nothing, rng, room=9.0), picture)


@pytest.mark.parametrize("kind", [None, *NOTHING])
def test_pictures_without_anatomy_have_its_size_and_all_grey_values_but_not_its_shapes(kind):
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:90, :110]
    picture = (np.hypot(rows - 40, columns - 60) < 25).astype(np.uint8) * 200
    for _ in range(10):
        made = without_anatomy(picture, rng, kind=kind)
        assert made.shape == picture.shape
        assert made.dtype == np.uint8
        assert made.min() == 0
        assert made.max() >= 254
        assert abs(np.corrcoef(made.ravel(), picture.ravel())[0, 1]) < 0.7


def test_an_even_picture_has_nothing_to_shuffle():
    made = without_anatomy(np.full((30, 40), 7, np.uint8), np.random.default_rng(0), kind="shuffled tiles")
    assert not made.any()
