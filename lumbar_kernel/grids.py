"""Grids of square pixels to sample slices on: slice planes laid upright, around a point or the whole of a slice."""

from __future__ import annotations

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import CRANIAL, LEFT, POSTERIOR, SlicePlane


def centred_grid(
    centre: FloatArray, *, down: FloatArray, right: FloatArray, spacing: float, shape: tuple[int, int]
) -> SlicePlane:
    """A grid centred at a patient point.

    Args:
        centre: mm LPS, shape (3,).
        down: unit vector along rising rows.
        right: unit vector along rising columns.
        spacing: mm between pixels.
        shape: rows and columns.
    """
    rows, columns = shape
    origin = centre - down * spacing * (rows - 1) / 2 - right * spacing * (columns - 1) / 2
    return SlicePlane(origin, right, down, spacing, spacing, shape)


def upright_grid(
    plane: SlicePlane, centre: FloatArray, *, sagittal: bool, spacing: float, shape: tuple[int, int]
) -> SlicePlane:
    """A grid parallel to a slice, upright as in `upright_axes`, else as from `centred_grid`."""
    down, right = upright_axes(plane, sagittal=sagittal)
    return centred_grid(centre, down=down, right=right, spacing=spacing, shape=shape)


def upright_frame(plane: SlicePlane, size: int, *, sagittal: bool) -> SlicePlane:
    """The whole slice on an upright square grid of `size` pixels, its longer side filling it."""
    spacing = max(plane.extent_mm) / size
    return upright_grid(plane, plane.centre, sagittal=sagittal, spacing=spacing, shape=(size, size))


def upright_axes(plane: SlicePlane, *, sagittal: bool) -> tuple[FloatArray, FloatArray]:
    """The slice's own axes, signed and ordered for the usual radiological display.

    Returns:
        Unit vectors down and right: sagittal slices caudal and posterior, axial slices posterior and patient left.
    """
    wanted_down, wanted_right = (-CRANIAL, POSTERIOR) if sagittal else (POSTERIOR, LEFT)
    down, right = plane.column_direction, plane.row_direction
    if abs(right @ wanted_right) < abs(down @ wanted_right):
        down, right = right, down
    return down * (1.0 if down @ wanted_down >= 0 else -1.0), right * (1.0 if right @ wanted_right >= 0 else -1.0)
