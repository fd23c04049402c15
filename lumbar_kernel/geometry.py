"""Slice planes in patient millimetres: pixel ↔ mm (DICOM LPS), names of planes, directions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray

LEFT, POSTERIOR, CRANIAL = np.eye(3)
"""Unit vectors of the patient axes in LPS (DICOM PS3.3 C.7.6.2.1.1)."""

SIDE_SIGNS = (1.0, -1.0)
"""Sign along `LEFT` of each of `schema.SIDES`."""

OBLIQUE_LIMIT_DEGREES = 50.0
"""A slice belongs to a plane when its normal lies within this angle of that plane's axis; tilted axial blocks at
L5/S1 exceed 45 degrees in some patients."""

OBLIQUE_LIMIT = float(np.cos(np.radians(OBLIQUE_LIMIT_DEGREES)))


class Plane(Enum):
    """The anatomical plane that a slice lies nearest to."""

    SAGITTAL = "sagittal"
    CORONAL = "coronal"
    AXIAL = "axial"


@dataclass(frozen=True, eq=False)
class SlicePlane:
    """Position of one slice in the patient, or of a grid on which slices are sampled.

    Attributes:
        origin: centre of the first pixel, mm LPS, shape (3,) (ImagePositionPatient).
        row_direction: unit vector along rising column index (first triple of ImageOrientationPatient).
        column_direction: unit vector along rising row index (second triple).
        row_spacing: mm between neighbouring rows (first value of PixelSpacing).
        column_spacing: mm between neighbouring columns (second value).
        shape: rows and columns.
    """

    origin: FloatArray
    row_direction: FloatArray
    column_direction: FloatArray
    row_spacing: float
    column_spacing: float
    shape: tuple[int, int]

    @cached_property
    def normal(self) -> FloatArray:
        """Unit normal of the slice, shape (3,): row direction × column direction."""
        return np.cross(self.row_direction, self.column_direction)

    @property
    def centre(self) -> FloatArray:
        """Middle of the slice, mm LPS, shape (3,)."""
        rows, columns = self.shape
        return self.to_mm(np.array([(rows - 1) / 2, (columns - 1) / 2]))

    @property
    def extent_mm(self) -> tuple[float, float]:
        """Height and width of the slice in mm."""
        return self.shape[0] * self.row_spacing, self.shape[1] * self.column_spacing

    @property
    def corners(self) -> FloatArray:
        """Centres of the four outermost pixels, mm LPS, shape (4, 3)."""
        rows, columns = self.shape
        return self.to_mm(np.array([[0, 0], [0, columns - 1], [rows - 1, 0], [rows - 1, columns - 1]]))

    @property
    def heights(self) -> tuple[float, float]:
        """Lowest and highest point of the slice, mm towards the head."""
        along = self.corners @ CRANIAL
        return float(along.min()), float(along.max())

    @property
    def steps(self) -> tuple[FloatArray, FloatArray]:
        """Patient mm from one row to the next and from one column to the next, (3,) each."""
        return self.column_direction * self.row_spacing, self.row_direction * self.column_spacing

    @property
    def pixel_centres(self) -> FloatArray:
        """Centres of all pixels, mm LPS, shape (rows, columns, 3)."""
        return self.to_mm(np.moveaxis(np.indices(self.shape, np.float64), 0, -1))

    def to_mm(self, row_column: FloatArray) -> FloatArray:
        """Patient points of pixel coordinates: (..., 2) row and column → (..., 3) mm LPS."""
        row_column = np.asarray(row_column, dtype=np.float64)
        along_rows = row_column[..., :1] * self.row_spacing * self.column_direction
        along_columns = row_column[..., 1:] * self.column_spacing * self.row_direction
        return self.origin + along_rows + along_columns

    def to_pixel(self, points_mm: FloatArray) -> FloatArray:
        """Pixel coordinates of patient points: (..., 3) mm LPS → (..., 2) row and column, projected on the slice."""
        offset = np.asarray(points_mm, dtype=np.float64) - self.origin
        rows = offset @ self.column_direction / self.row_spacing
        columns = offset @ self.row_direction / self.column_spacing
        return np.stack([rows, columns], axis=-1)

    def distance(self, points_mm: FloatArray) -> FloatArray:
        """Signed distance of points from the slice along its normal: (..., 3) mm LPS → (...) mm."""
        return (np.asarray(points_mm, dtype=np.float64) - self.origin) @ self.normal

    def projected(self, points_mm: FloatArray) -> FloatArray:
        """Points moved on the slice along its normal: (..., 3) mm LPS → (..., 3)."""
        return points_mm - self.distance(points_mm)[..., None] * self.normal

    def contains(self, row_column: FloatArray, *, margin: float = 0.0) -> NDArray[np.bool_]:
        """Whether pixel coordinates (..., 2) lie inside the frame, at least `margin` pixels from its edge."""
        row_column = np.asarray(row_column)
        limit = np.array(self.shape) - 1 - margin
        inside: NDArray[np.bool_] = np.all((row_column >= margin) & (row_column <= limit), axis=-1)
        return inside

    def shows(self, point_mm: FloatArray, *, margin: float = 0.0) -> bool:
        """Whether a point (3,), projected along the normal, lies inside the frame, as in `contains`."""
        return bool(self.contains(self.to_pixel(point_mm), margin=margin))


def plane_of(normal: FloatArray) -> Plane | None:
    """The plane that a slice with this unit normal belongs to, None when it is too oblique.

    The axial cone is wide because L5/S1 blocks follow the sacrum; ties go to the nearest axis.
    """
    return next(iter(planes_near(normal)), None)


def planes_near(normal: FloatArray) -> tuple[Plane, ...]:
    """The planes within `OBLIQUE_LIMIT_DEGREES` of a slice with this unit normal, the nearest first: none to two."""
    components = np.abs(np.asarray(normal, dtype=np.float64))
    near = [int(axis) for axis in np.argsort(-components, kind="stable") if components[axis] >= OBLIQUE_LIMIT]
    return tuple((Plane.SAGITTAL, Plane.CORONAL, Plane.AXIAL)[axis] for axis in near)


def posterior_direction(normal: FloatArray) -> FloatArray:
    """Posterior unit vectors within the planes of these unit normals, (..., 3) → (..., 3)."""
    normal = np.asarray(normal, dtype=np.float64)
    return unit(POSTERIOR - (normal @ POSTERIOR)[..., None] * normal)


def unit(vector: FloatArray) -> FloatArray:
    """The vector scaled to length one along its last axis; raises ValueError for a zero vector."""
    vector = np.asarray(vector, dtype=np.float64)
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    if np.any(length < 1e-9):
        msg = f"a vector of length zero has no direction: {vector.tolist()}"
        raise ValueError(msg)
    return np.asarray(vector / length)
