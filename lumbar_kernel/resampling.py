"""Sampling decoded slices at the pixels of a grid in patient millimetres, for localising and cropping."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.study import Slice

ANTIALIAS = 0.45
"""Gaussian sigma per unit of downsampling; leaves 37 % of the signal at the new Nyquist limit, without visible blur."""

ALIGNED = 1e-9
"""Pixels a step sideways below which a grid runs along the rows and columns of its slice."""


def sample(item: Slice, grid: SlicePlane, *, resolution: float = 0.0) -> NDArray[np.float32]:
    """The slice's signal at the grid's pixels, (rows, columns) float32; zero outside the slice's frame.

    Grid points are projected on the slice along its normal; a grid coarser than the slice gets a Gaussian prefilter.

    Args:
        item: the decoded slice.
        grid: where to sample; any plane, whose frame is the picture.
        resolution: blur as if the grid had this spacing, mm, where that is coarser than its own.
    """
    down, right = grid.steps
    places = np.stack([grid.origin, grid.origin + down, grid.origin + right])
    origin, next_row, next_column = item.plane.to_pixel(places)
    per_row, per_column = next_row - origin, next_column - origin
    wider, broader = (max(1.0, resolution / mm) for mm in (grid.row_spacing, grid.column_spacing))
    sigma = _prefilter_sigma(wider * per_row, broader * per_column)
    pixels, first = _needed(item.pixels, origin, per_row, per_column, grid.shape, sigma)
    origin = origin - first
    if sigma[0] > 0 or sigma[1] > 0:
        pixels = cv2.GaussianBlur(pixels, (0, 0), sigmaX=max(sigma[1], 1e-3), sigmaY=max(sigma[0], 1e-3))
    rows, columns = np.arange(grid.shape[0], dtype=np.float64), np.arange(grid.shape[1], dtype=np.float64)
    if abs(per_row[0]) < ALIGNED and abs(per_column[1]) < ALIGNED:  # the grid's rows run along the slice's columns
        pixels, origin, per_row, per_column = pixels.T, origin[::-1], per_row[::-1], per_column[::-1]
    if abs(per_row[1]) < ALIGNED and abs(per_column[0]) < ALIGNED:
        return _bilinear_aligned(pixels, origin[0] + rows * per_row[0], origin[1] + columns * per_column[1])
    return _bilinear(
        pixels,
        origin[0] + rows[:, None] * per_row[0] + columns * per_column[0],
        origin[1] + rows[:, None] * per_row[1] + columns * per_column[1],
    )


def _needed(
    pixels: NDArray[np.float32],
    origin: FloatArray,
    per_row: FloatArray,
    per_column: FloatArray,
    shape: tuple[int, int],
    sigma: tuple[float, float],
) -> tuple[NDArray[np.float32], FloatArray]:
    """The part of an image that a grid needs, with what the blur reaches around it, and its first row and column.

    A crop shows a thirtieth of its slice; blurring and padding the rest would take most of the time.
    """
    last_row, last_column = per_row * (shape[0] - 1), per_column * (shape[1] - 1)
    corners = np.array([origin, origin + last_row, origin + last_column, origin + last_row + last_column])
    reach = np.array([4 * blur + 4 for blur in sigma])  # OpenCV's kernel has four sigma to each side
    first = np.clip(np.floor(corners.min(axis=0) - reach), 0, np.array(pixels.shape) - 1).astype(int)
    end = np.clip(np.ceil(corners.max(axis=0) + reach) + 1, first + 1, pixels.shape).astype(int)
    return pixels[first[0] : end[0], first[1] : end[1]], first.astype(np.float64)


# Own code, since `cv2.warpAffine` and `cv2.remap` round places to a 32nd of a pixel before OpenCV 5 and not since,
# which moved grades by up to 0.008.


def _bilinear_aligned(pixels: NDArray[np.float32], row: FloatArray, column: FloatArray) -> NDArray[np.float32]:
    """The image between its pixels, at every pair of a row and a column, (rows, columns); zero outside."""
    padded = _padded(pixels)
    (first_row, down), (first_column, right) = (_parts(*item) for item in zip((row, column), pixels.shape, strict=True))
    lines = padded[first_row]
    lines += down[:, None] * (padded[first_row + 1] - lines)
    between: NDArray[np.float32] = lines.take(first_column, axis=1)
    between += right * (lines.take(first_column + 1, axis=1) - between)
    return between


def _bilinear(pixels: NDArray[np.float32], row: FloatArray, column: FloatArray) -> NDArray[np.float32]:
    """The image between its pixels, at rows and columns of any one shape; zero outside."""
    flat, stride = _padded(pixels).ravel(), pixels.shape[1] + 3
    (first_row, down), (first_column, right) = (_parts(*item) for item in zip((row, column), pixels.shape, strict=True))
    first = first_row * stride + first_column
    above, below = flat.take(first), flat.take(first + stride)
    above += right * (flat.take(first + 1) - above)
    below += right * (flat.take(first + stride + 1) - below)
    between: NDArray[np.float32] = above + down * (below - above)
    return between


def _padded(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image within zeros, one pixel before it and two behind it, so that all neighbours exist."""
    height, width = pixels.shape
    padded = np.zeros((height + 3, width + 3), np.float32)
    padded[1:-2, 1:-2] = pixels
    return padded


def _parts(place: FloatArray, size: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Index in the padded image of the pixel before each place, and the fraction of the way to the next one."""
    place = np.clip(place, -1, size)
    whole = np.floor(place)
    return (whole + 1).astype(np.intp), (place - whole).astype(np.float32)


def _prefilter_sigma(per_row: FloatArray, per_column: FloatArray) -> tuple[float, float]:
    """Blur in slice pixels along slice rows and columns, zero where the grid is not coarser than the slice."""
    reach = np.maximum(np.abs(per_row), np.abs(per_column))
    row, column = (float(ANTIALIAS * step) if step > 1.2 else 0.0 for step in reach)
    return row, column
