import numpy as np
import pytest

from lumbar_kernel.geometry import CRANIAL, LEFT, POSTERIOR
from lumbar_kernel.grids import centred_grid, upright_frame, upright_grid
from tests.conftest import AXIAL, SAGITTAL, make_slice


def test_a_grid_lies_around_its_centre_in_square_pixels():
    grid = centred_grid(np.array([5.0, 12, -20]), down=-CRANIAL, right=POSTERIOR, spacing=0.7, shape=(9, 7))
    assert np.allclose(grid.centre, (5, 12, -20))
    assert np.allclose(grid.to_mm(np.array([4, 3])), (5, 12, -20))
    assert np.allclose(grid.to_mm(np.array([5, 3])), (5, 12, -20.7))
    assert np.allclose(grid.to_mm(np.array([4, 4])), (5, 12.7, -20))


@pytest.mark.parametrize(("axes", "down", "right"), [(SAGITTAL, -CRANIAL, POSTERIOR), (AXIAL, POSTERIOR, LEFT)])
@pytest.mark.parametrize("flip", [(1, 1), (-1, 1), (1, -1), (-1, -1)], ids=str)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_grid_is_upright_however_the_slice_is_stored(axes, down, right, flip, transposed):
    stored = [sign * axis for sign, axis in zip(flip, axes, strict=True)]
    plane = make_slice(stored[::-1] if transposed else stored).plane
    sagittal = axes is SAGITTAL
    grid = upright_grid(plane, np.zeros(3), sagittal=sagittal, spacing=2.0, shape=(5, 6))
    assert np.allclose(grid.steps, (2 * down, 2 * right))
    assert grid.shape == (5, 6)


def test_a_frame_holds_the_whole_slice():
    plane = make_slice(spacing=(1.5, 1.0)).plane
    frame = upright_frame(plane, 120, sagittal=True)
    assert frame.shape == (120, 120)
    assert frame.extent_mm == pytest.approx((60, 60))
    assert np.allclose(frame.centre, plane.centre)
    assert frame.contains(frame.to_pixel(plane.corners)).all()
