"""Sampling decoded slices on grids in patient millimetres, for localising and cropping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import CRANIAL, LEFT, POSTERIOR, SlicePlane
from lumbar_kernel.study import Slice

ANTIALIAS = 0.45
"""Gaussian sigma per unit of downsampling; halves the signal at the new Nyquist limit without visible blur."""


NORMAL_PERCENTILES = (1.0, 99.0)
"""Of the pixels above 0, which `normalise` brings to 0 and 1."""

MIN_PIXELS = 16
"""An image with fewer pixels above 0 shows nothing."""

ALIGNED = 1e-9
"""Pixels a step sideways below which a grid runs along the rows and columns of its slice."""

MIN_NEIGHBOUR_COSINE = float(np.cos(np.radians(5)))
"""Cosine of the largest angle between neighbouring slices of one block."""

SAGITTAL_CAP_MM = 10.0
"""A foramen or canal whose nearest sagittal slice is farther away was not scanned: usual steps are 4 to 5 mm."""

NEIGHBOUR_GAP_MM = (0.5, 12.0)
"""Range of the distance between neighbouring slices; anything nearer is the same slice once more."""


@dataclass(frozen=True, eq=False)
class PixelGrid:
    """A square-pixel grid on a plane in the patient.

    Attributes:
        corner: centre of the first grid pixel, mm LPS, shape (3,).
        down: unit vector along rising grid rows.
        right: unit vector along rising grid columns.
        spacing: mm between grid pixels.
        shape: rows and columns of the grid.
    """

    corner: FloatArray
    down: FloatArray
    right: FloatArray
    spacing: float
    shape: tuple[int, int]

    def to_mm(self, row_column: FloatArray) -> FloatArray:
        """Patient points of grid coordinates: (..., 2) row and column → (..., 3) mm LPS."""
        row_column = np.asarray(row_column, dtype=np.float64) * self.spacing
        return self.corner + row_column[..., :1] * self.down + row_column[..., 1:] * self.right

    def to_pixel(self, points_mm: FloatArray) -> FloatArray:
        """Grid coordinates of patient points: (..., 3) mm LPS → (..., 2) row and column, projected on the grid."""
        offset = np.asarray(points_mm, dtype=np.float64) - self.corner
        return np.stack([offset @ self.down, offset @ self.right], axis=-1) / self.spacing


def centred_grid(
    centre: FloatArray, *, down: FloatArray, right: FloatArray, spacing: float, shape: tuple[int, int]
) -> PixelGrid:
    """A grid of `shape` pixels centred at `centre`, mm LPS."""
    rows, columns = shape
    corner = centre - down * spacing * (rows - 1) / 2 - right * spacing * (columns - 1) / 2
    return PixelGrid(corner=corner, down=down, right=right, spacing=spacing, shape=shape)


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


def sample(item: Slice, grid: PixelGrid, *, resolution: float = 0.0) -> NDArray[np.float32]:
    """The slice's signal at the grid's pixels, (rows, columns) float32; zero outside the slice's frame.

    Grid points are projected on the slice along its normal; a grid coarser than the slice gets a Gaussian prefilter.

    Args:
        item: the decoded slice.
        grid: where to sample.
        resolution: blur as if the grid had this spacing, mm, where that is coarser than its own.
    """
    origin, next_row, next_column = item.plane.to_pixel(
        np.stack([grid.corner, grid.corner + grid.spacing * grid.down, grid.corner + grid.spacing * grid.right])
    )
    per_row, per_column = next_row - origin, next_column - origin
    sigma = _prefilter_sigma(per_row, per_column, factor=max(1.0, resolution / grid.spacing))
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


def _prefilter_sigma(per_row: FloatArray, per_column: FloatArray, *, factor: float) -> tuple[float, float]:
    """Blur in slice pixels along slice rows and columns, zero where the grid is not coarser than the slice."""
    reach = factor * np.maximum(np.abs(per_row), np.abs(per_column))
    row, column = (float(ANTIALIAS * step) if step > 1.2 else 0.0 for step in reach)
    return row, column


def normalise(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image scaled so that its low and high percentiles become 0 and 1, clipped to [0, 1.5]; flat images give 0."""
    inside = image[image > 0]
    if inside.size < MIN_PIXELS:
        return np.zeros_like(image)
    bottom, top = np.percentile(inside, NORMAL_PERCENTILES, overwrite_input=True)
    return _scaled(image, bottom, top)


def normalise_bytes(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What `normalise` makes of an image of bytes, whose levels are counted rather than sorted."""
    counts = np.bincount(image.ravel(), minlength=256)
    counts[0] = 0
    ends = counts.cumsum()
    if ends[-1] < MIN_PIXELS:
        return np.zeros(image.shape, np.float32)
    place = np.array(NORMAL_PERCENTILES) / 100 * (ends[-1] - 1)
    below = np.floor(place)
    level, next_level = (np.searchsorted(ends, np.minimum(k, ends[-1] - 1), side="right") for k in (below, below + 1))
    bottom, top = level + (place - below) * (next_level - level)
    scaled: NDArray[np.float32] = _scaled(np.arange(256, dtype=np.float32), bottom, top)[image]
    return scaled


def _scaled(image: NDArray[np.float32], bottom: float, top: float) -> NDArray[np.float32]:
    # scalars in single precision by name, since NumPy 1 and 2 promote them differently
    scaled: NDArray[np.float32] = image - np.float32(bottom)
    scaled *= np.float32(1 / max(top - bottom, 1e-6))
    return np.clip(scaled, np.float32(0.0), np.float32(1.5), out=scaled)


def to_bytes(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The image as bytes: its 0.5th and 99.5th percentiles become 0 and 255, in kernel and training alike."""
    low, high = np.percentile(image, [0.5, 99.5])
    image64 = image.astype(np.float64)
    scaled: NDArray[np.uint8] = np.clip((image64 - low) * (255 / max(high - low, 1e-6)), 0, 255).astype(np.uint8)
    return scaled


def stack_around(
    slices: Sequence[Slice], item: Slice, *, count: int, others: Sequence[Slice] = ()
) -> tuple[Slice | None, ...]:
    """The stack of `count` slices around one, an odd number, from its own block; None where a slice is missing.

    The order follows the patient: caudal or right slices come first.

    Args:
        slices: of the series of `item`, in any order, with or without it.
        item: the middle of the stack.
        count: slices of the stack.
        others: slices of other series, which continue the stack where its own series ends.
    """
    # A normal may point either way along its axis; the order follows the patient, not the file. Axial slices at L5/S1
    # may be tilted by up to 50 degrees, so that they lie nearer to coronal ones, which no series has.
    along = item.plane.normal @ np.stack([LEFT, CRANIAL], axis=1)
    sense = float(np.copysign(1.0, along[np.argmax(np.abs(along))]))
    pools = [_by_position(pool, item, sense) for pool in (slices, others)]
    half = count // 2
    stack: list[Slice | None] = [item]
    for direction in (-1, 1):
        reached, found = 0.0, []
        for _ in range(half):
            following = next(filter(None, (_next(pool, direction, reached) for pool in pools)), None)
            if following is None:
                break
            reached, neighbour = following
            found.append(neighbour)
        padded = [*found, *[None] * (half - len(found))]
        stack = [*padded[::-1], *stack] if direction < 0 else [*stack, *padded]
    return tuple(stack)


def _by_position(slices: Sequence[Slice], item: Slice, sense: float) -> list[tuple[float, Slice]]:
    """The slices parallel to one, each with its position in mm along the patient, that one's being zero."""
    return [
        (sense * float(item.plane.distance(other.plane.centre)), other)
        for other in slices
        if other is not item and abs(float(other.plane.normal @ item.plane.normal)) >= MIN_NEIGHBOUR_COSINE
    ]


def _next(positions: Sequence[tuple[float, Slice]], direction: int, reached: float) -> tuple[float, Slice] | None:
    """The nearest slice beyond so many mm in one direction, with its distance; None where the block ends."""
    low, high = (reached + gap for gap in NEIGHBOUR_GAP_MM)
    beyond = [(direction * place, other) for place, other in positions if low < direction * place < high]
    return min(beyond, key=lambda found: found[0], default=None)


def sagittal_showing(slices: Sequence[Slice], point_mm: FloatArray) -> Slice | None:
    """The nearest slice whose frame contains a point, None where that is farther than `SAGITTAL_CAP_MM`."""
    apart = [abs(float(item.plane.distance(point_mm))) for item in slices]
    near = [index for index in np.argsort(apart, kind="stable") if apart[index] <= SAGITTAL_CAP_MM]
    return next((slices[index] for index in near if slices[index].plane.shows(point_mm)), None)


def nearest_sagittal(slices: Sequence[Slice], point_mm: FloatArray) -> Slice:
    """The slice whose plane passes nearest to a point."""
    return min(slices, key=lambda item: abs(float(item.plane.distance(point_mm))))
