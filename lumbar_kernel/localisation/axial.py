"""Axial slices of each level by geometry over all series and blocks, then canal and recesses in that plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import LEFT, POSTERIOR
from lumbar_kernel.localisation.confidence import recess_confidence
from lumbar_kernel.localisation.landmarks import Landmarks
from lumbar_kernel.localisation.slice_maps import heatmaps
from lumbar_kernel.models.heatmap_net import STRIDE, HeatmapNet
from lumbar_kernel.resampling import PixelGrid, centred_grid, normalise, sample, upright_axes
from lumbar_kernel.schema import AXIAL_T2, LEVELS
from lumbar_kernel.study import Slice, Study

WINDOW_SPACING_MM = 0.625
WINDOW_SHAPE = (128, 128)
"""Window in which the recesses are looked for: 80 mm, since the projected canal point is good to about a centimetre."""

DISTANCE_CAP_MM = 10.0
"""A level whose nearest axial slice is farther away was not scanned."""

TILT_COST_MM = 0.12
"""Millimetres equivalent to one degree between slice and disc, so that a block aligned with the disc is preferred."""

RECESS_OFFSET_MM = (7.5, 2.5)
"""Default place of a recess: lateral of the canal point (half the mean labelled distance), and anterior of it."""


@dataclass(frozen=True, eq=False)
class AxialView:
    """The axial evidence of one level.

    Attributes:
        item: the nearest slice.
        grid: upright window on the nearest slice, centred on the canal.
        recesses: (2, 3) left and right subarticular points, mm LPS.
        evidence: (2,) heatmap probability of each recess; 0 means placed by geometry.
    """

    item: Slice
    grid: PixelGrid
    recesses: FloatArray
    evidence: FloatArray

    @property
    def confidence(self) -> FloatArray:
        """Estimated probability (2,) that a recess lies within reach of a reader's mark, if the level is right."""
        return recess_confidence(self.evidence)

    @property
    def centre(self) -> FloatArray:
        """Midpoint of the recesses, mm LPS, shape (3,)."""
        return np.asarray(self.recesses.mean(axis=0))


def axial_views(study: Study, landmarks: Landmarks, nets: Sequence[HeatmapNet]) -> tuple[AxialView | None, ...]:
    """One view per level, None where no axial slice crosses the canal near the disc; none at all without nets."""
    slices = study.slices(AXIAL_T2)
    nearest = [nearest_slice(slices, landmarks.canal[k], normal=landmarks.disc_normal[k]) for k in range(len(LEVELS))]
    found = [level for level, index in enumerate(nearest) if index is not None]
    if not found or not nets:
        return (None,) * len(LEVELS)
    chosen = {level: slices[index] for level, index in enumerate(nearest) if index is not None}
    on_slices = views_on(list(chosen.values()), landmarks.canal[found], nets)
    by_level = dict(zip(found, on_slices, strict=True))
    return tuple(by_level.get(level) for level in range(len(LEVELS)))


def views_on(slices: Sequence[Slice], canal: FloatArray, nets: Sequence[HeatmapNet]) -> list[AxialView]:
    """The recesses on slices whose level is known: slices and canal points (n, 3) mm LPS → n views."""
    grids = [window_of(item, point) for item, point in zip(slices, canal, strict=True)]
    pictures = np.stack([normalise(sample(item, grid)) for item, grid in zip(slices, grids, strict=True)])
    views = []
    for maps, grid, item, point in zip(heatmaps(pictures, nets), grids, slices, canal, strict=True):
        recesses, evidence = _recesses(maps, grid, item, canal=point)
        views.append(AxialView(item=item, grid=grid, recesses=recesses, evidence=evidence))
    return views


def nearest_slice(slices: Sequence[Slice], point_mm: FloatArray, *, normal: FloatArray) -> int | None:
    """Index of the slice that shows a disc-level point best, None when all are farther than the cap or miss it."""
    best, lowest = None, np.inf
    for index, item in enumerate(slices):
        plane = item.plane
        distance = abs(float(plane.distance(point_mm)))
        if distance > DISTANCE_CAP_MM or not plane.shows(point_mm, margin=4):
            continue
        tilt = np.degrees(np.arccos(min(1.0, abs(float(plane.normal @ normal)))))
        cost = distance + TILT_COST_MM * tilt
        if cost < lowest:
            best, lowest = index, cost
    return best


def window_of(item: Slice, centre: FloatArray) -> PixelGrid:
    """The upright search window on a slice around a patient point."""
    down, right = upright_axes(item.plane, sagittal=False)
    on_plane = centre - float(item.plane.distance(centre)) * item.plane.normal
    return centred_grid(on_plane, down=down, right=right, spacing=WINDOW_SPACING_MM, shape=WINDOW_SHAPE)


def _recesses(
    maps: NDArray[np.float32], grid: PixelGrid, item: Slice, *, canal: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Left and right subarticular points on a slice from their maps (2, rows, columns)."""
    points, evidence = np.empty((2, 3)), np.zeros(2)
    for side, (sign, heatmap) in enumerate(zip((1.0, -1.0), maps, strict=True)):
        row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
        rows, columns = (slice(max(0, k - 2), k + 3) for k in (int(row), int(column)))
        near = heatmap[rows, columns].astype(np.float64)
        evidence[side] = near.sum()
        if near.sum() >= 0.15:
            cells = np.moveaxis(np.mgrid[rows, columns], 0, -1).reshape(-1, 2)
            points[side] = grid.to_mm((near.reshape(-1) @ cells / near.sum() + 0.5) * STRIDE - 0.5)
            continue
        evidence[side] = 0.0
        lateral, anterior = RECESS_OFFSET_MM
        place = canal + sign * lateral * LEFT - anterior * POSTERIOR
        points[side] = place - float(item.plane.distance(place)) * item.plane.normal
    return points, evidence
