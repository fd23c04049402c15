"""Axial slices at the disc levels, reformatted from a sagittal volume where a study has no axial series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import LEFT, SlicePlane, posterior_direction, unit
from lumbar_kernel.localisation.landmarks import Landmarks
from lumbar_kernel.schema import AXIAL_T2
from lumbar_kernel.study import REFORMATTED, Series, Slice, Study

STEP_MM, SLICES = 4.0, 3
"""Of the slices at each disc: as many as members grade, with the step of usual axial series."""

SAMPLES = 3
"""Planes that are averaged to one slice, so that it is as thick as slices of usual axial series."""

PIXEL_MM, PIXELS = 0.55, 200
"""Of a square slice; 110 mm hold the window in which recesses are looked for and every crop."""


@dataclass(frozen=True, eq=False)
class _Volume:
    """Congruent parallel slices in the order of their places.

    Attributes:
        plane: of the first slice.
        places: (n,) distance of each slice from the first, rising, mm.
        signal: (n, rows + 1, columns + 1) float32, the last row and column repeated.
    """

    plane: SlicePlane
    places: FloatArray
    signal: NDArray[np.float32]

    @classmethod
    def of(cls, slices: Sequence[Slice]) -> _Volume:
        plane = slices[0].plane
        places = np.array([float(plane.distance(item.plane.origin)) for item in slices])
        order = np.argsort(places)
        signal = np.stack([slices[index].pixels for index in order])
        return cls(plane, places[order], np.pad(signal, ((0, 0), (0, 1), (0, 1)), mode="edge"))

    def at(self, points_mm: FloatArray) -> NDArray[np.float32]:
        """Signal at patient points (..., 3), linear between voxels, zero outside."""
        row, column = np.moveaxis(self.plane.to_pixel(points_mm), -1, 0)
        along = self.plane.distance(points_mm)
        inside = self.plane.contains(np.stack([row, column], axis=-1))
        inside &= (along >= self.places[0]) & (along <= self.places[-1])
        after = np.clip(np.searchsorted(self.places, along), 1, len(self.places) - 1)
        gap = self.places[after] - self.places[after - 1]
        deep = np.clip((along - self.places[after - 1]) / gap, 0, 1).astype(np.float32)
        first = self._within(after - 1, row, column)
        return np.where(inside, first + deep * (self._within(after, row, column) - first), np.float32(0))

    def _within(self, index: NDArray[np.intp], row: FloatArray, column: FloatArray) -> NDArray[np.float32]:
        """Signal of slices at places within them, linear between pixels."""
        rows, columns = self.signal.shape[1:]
        top = np.clip(np.floor(row), 0, rows - 2).astype(np.intp)
        left = np.clip(np.floor(column), 0, columns - 2).astype(np.intp)
        down, right = (row - top).astype(np.float32), (column - left).astype(np.float32)
        flat, start = self.signal.ravel(), (index * rows + top) * columns + left
        above, below = flat.take(start), flat.take(start + columns)
        above = above + right * (flat.take(start + 1) - above)
        below = below + right * (flat.take(start + columns + 1) - below)
        return np.asarray(above + down * (below - above), dtype=np.float32)


def with_reformatted_axials(study: Study, landmarks: Landmarks) -> Study:
    """The study with a block of axial slices parallel to each disc, cut from its volume; unchanged without a volume.

    The slices are centred on the canal, `STEP_MM` apart and as thick, and carry no instance number.
    """
    volume = study.volume
    if volume is None or study.slices(AXIAL_T2):
        return study
    signal = _Volume.of(volume.slices)
    blocks = zip(landmarks.canal[::-1], landmarks.disc_normal[::-1], strict=True)
    slices = tuple(item for canal, normal in blocks for item in _block(signal, canal, normal))
    source = volume.series_id.removesuffix(REFORMATTED)  # an id may itself hold blanks
    text = f"no axial series: axial slices are reformatted from sagittal series {source}"
    series = Series(volume.series_id, AXIAL_T2, slices)
    return replace(study, series=(*study.series, series), problems=(*study.problems, text), volume=None)


def _block(volume: _Volume, canal: FloatArray, normal: FloatArray) -> list[Slice]:
    """The slices about one disc, from below upwards."""
    down = posterior_direction(normal)
    right = unit(LEFT - (LEFT @ normal) * normal - (LEFT @ down) * down)
    half = PIXEL_MM * (PIXELS - 1) / 2
    offsets = (np.arange(SLICES) - (SLICES - 1) / 2) * STEP_MM
    return [_slice(volume, canal + offset * normal - half * (down + right), right, down) for offset in offsets]


def _slice(volume: _Volume, origin: FloatArray, right: FloatArray, down: FloatArray) -> Slice:
    plane = SlicePlane(origin, right, down, PIXEL_MM, PIXEL_MM, (PIXELS, PIXELS))
    points = plane.pixel_centres
    depths = ((np.arange(SAMPLES) + 0.5) / SAMPLES - 0.5) * STEP_MM
    pixels = np.mean([volume.at(points + depth * plane.normal) for depth in depths], axis=0)
    return Slice(plane, np.asarray(pixels, dtype=np.float32), None)
