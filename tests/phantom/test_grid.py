import numpy as np
import pytest

from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.grid import VoxelGrid, mirrored, profile, roof, wall

STEP = 0.5


@pytest.fixture
def grid():
    return VoxelGrid.empty((-5, 5), (-3, 8), (0, 12), STEP)


def test_grids_over_other_ranges_share_one_lattice(grid):
    part = VoxelGrid.empty((-2.3, 2.1), (-1.1, 4.4), (3.3, 9.9), STEP)
    for whole, own in ((grid.u, part.u), (grid.v, part.v), (grid.s, part.s)):
        assert np.isin(own, whole).all()


def test_a_window_is_a_view_of_what_lies_in_its_ranges(grid):
    window = grid.window((-1, 1), (0, 2), (4, 6))
    window.paint(np.ones(window.ids.shape, bool), tissue.FAT)
    u, v, s = (axis[found] for axis, found in zip((grid.u, grid.v, grid.s), np.nonzero(grid.ids), strict=True))
    for axis, (low, high) in ((u, (-1, 1)), (v, (0, 2)), (s, (4, 6))):
        assert axis.min() >= low
        assert axis.max() < high
    assert len(u) == window.ids.size == 4**3


@pytest.mark.parametrize("missed", [(20, 30), (-30, -20), (1.1, 1.2)])
def test_a_window_beside_the_grid_is_none(grid, missed):
    assert grid.window(missed, (0, 2), (4, 6)) is None


def test_bone_has_a_dark_rim_around_its_marrow(grid):
    window = grid.window((-5, 5), (-3, 8), (0, 12))
    distance = np.sqrt(window.u**2 + (window.v - 2) ** 2 + (window.s - 6) ** 2) - 3
    window.bone(distance)
    assert np.all(grid.ids[distance >= 0] == tissue.OUTSIDE)
    assert np.all(grid.ids[distance < -0.55] == tissue.MARROW)
    assert np.all(grid.ids[(distance < 0) & (distance >= -0.55)] == tissue.CORTEX)


def test_a_profile_passes_its_falling_knots_and_is_constant_beyond():
    knots, values = np.array([40.0, 10.0, -30.0]), np.array([1.0, 3.0, 5.0])
    at = profile(np.array([60, 40, 25, 10, -30, -90], np.float32), knots, values)
    assert at == pytest.approx([1, 1, 2, 3, 5, 5])


def test_ranges_are_mirrored_in_rising_order():
    assert mirrored(0, 3, 9) == (3, 9)
    assert mirrored(1, 3, 9) == (-9, -3)


def test_roof_and_wall_are_symmetric_and_recede_sideways():
    u = np.linspace(-20, 20, 81).astype(np.float32)
    for surface in (roof(u, 17.0), wall(u, 45.0, 34.0)):
        assert surface == pytest.approx(surface[::-1], abs=1e-4)
        assert np.all(np.diff(surface[40:]) <= 0)
    assert roof(u, 17.0)[40] == pytest.approx(17)
    assert wall(u, 45.0, 34.0)[40] == pytest.approx(0, abs=1e-6)
    assert wall(np.float32([22.5]), 45.0, 34.0) == pytest.approx([-17])
