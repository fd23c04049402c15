"""What goes wrong in a scan: content is folded, moved or darkened where it should be, and nowhere else."""

import numpy as np
import pytest

from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.phantom.artefacts import (
    crossing_saturation,
    folded,
    metal_distorted,
    motion_corrupted,
    ramp,
    widened,
)


def plane_at(height=0.0, *, tilt=0.0, shape=(60, 80)):
    """An axial plane turned about the left-right axis by `tilt` degrees, first pixel at the frame's corner."""
    down = np.array([0.0, np.cos(np.radians(tilt)), np.sin(np.radians(tilt))])
    middle = np.array([0.0, 0.0, height])
    origin = middle - 0.5 * (shape[1] - 1) * np.array([1.0, 0, 0]) - 0.5 * (shape[0] - 1) * down
    return SlicePlane(origin, np.array([1.0, 0, 0]), down, 1.0, 1.0, shape)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_small_field_folds_what_lies_beyond_it(axis):
    plane = plane_at()
    wide = widened(plane, 7, axis=axis)
    assert wide.shape[axis] == plane.shape[axis] + 14
    first = np.zeros(2)
    first[axis] = 7
    assert np.allclose(wide.to_mm(first), plane.to_mm(np.zeros(2)))
    image = np.zeros(wide.shape, np.float32)
    middle = [30, 40]
    middle[axis] = 3  # four pixels before the field begins
    image[tuple(middle)] = 1
    shown = folded(image, 7, axis=axis)
    assert shown.shape == plane.shape
    assert shown.sum() == 1
    assert np.argwhere(shown)[0][axis] == plane.shape[axis] - 4


def test_motion_smears_along_the_phase_and_keeps_the_rest():
    rng = np.random.default_rng(0)
    image = np.zeros((64, 64), np.float32)
    image[28:36, 28:36] = 1
    assert np.allclose(motion_corrupted(image, 0.0, axis=0, rng=rng), image, atol=1e-4)
    moved = motion_corrupted(image, 0.15, axis=0, rng=rng)
    assert moved[40:, 28:36].max() > 3 * moved[28:36, 44:].max()
    assert moved[28:36, 28:36].mean() > 0.5


def test_only_slices_of_other_blocks_darken_where_they_cross():
    plane = plane_at()
    assert (crossing_saturation(plane, [plane, plane_at(4.0)], thickness=4.0, left=0.5) == 1).all()
    left = crossing_saturation(plane, [plane_at(10.0, tilt=30)], thickness=4.0, left=0.5)
    rows = np.flatnonzero(left.min(axis=1) < 0.6)
    where = plane.to_mm(np.array([[row, 40.0] for row in rows]))[:, 1]
    assert np.abs(where + 10 / np.tan(np.radians(30))).max() < 4 / np.sin(np.radians(30)) + 3
    assert (left[-20:] == 1).all()


def test_a_ramp_rises_along_its_direction():
    down = ramp((50, 40), np.pi / 2, 0.0)
    assert np.ptp(down, axis=1).max() < 1e-5
    assert down[0].max() < 0.05
    assert down[-1].min() > 0.95


@pytest.mark.parametrize("upright", [False, True])
def test_metal_is_a_void_with_a_bright_rim_and_far_parts_stay(upright):
    image, metal = np.ones((120, 120), np.float32), np.zeros((120, 120), np.float32)
    metal[55:65, 55:65] = 1
    (shown,) = metal_distorted([image], metal, pixel=0.7, upright=upright)
    assert shown[56:64, 56:64].max() < 0.05
    assert (shown < 0.1).sum() > 1.5 * metal.sum()
    assert shown.max() > 1.1
    assert np.allclose(shown[:20], 1, atol=0.01)
