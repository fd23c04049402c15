"""Axial slices of each level by geometry over all series and blocks, then canal and recesses in that plane."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import LEFT, POSTERIOR, SIDE_SIGNS, SlicePlane
from lumbar_kernel.grids import upright_grid
from lumbar_kernel.localisation.confidence import recess_confidence
from lumbar_kernel.localisation.landmarks import Landmarks
from lumbar_kernel.localisation.slice_maps import heatmaps
from lumbar_kernel.models.heatmap_net import HeatmapNet, pixels_at
from lumbar_kernel.schema import AXIAL_T2, LEVELS
from lumbar_kernel.slice_choice import AXIAL_CAP_MM, axial_showing
from lumbar_kernel.study import Slice, Study

WINDOW_SPACING_MM = 0.625
WINDOW_SHAPE = (128, 128)
"""Window in which the recesses are looked for: 80 mm, since the projected canal point is good to about a centimetre."""

MIN_EVIDENCE = 0.15
"""Probability around its peak from which a recess counts as seen; below it geometry places it."""

SHOWS_SPINE = 0.5
"""Probability that the better seen recess of a slice must have. 99.9 % of marked public crops and 99.8 % of the slices
beside them have it, noise never, and 1 to 4 % of shuffled, overturned or sagittal pictures: `python -m
training.spineless DATA_DIR`."""

RECESS_OFFSET_MM = (7.5, 2.5)
"""Default place of a recess: lateral of the canal point (half the mean labelled distance), and anterior of it."""


@dataclass(frozen=True, eq=False)
class AxialLevel:
    """The axial evidence of one level.

    Attributes:
        item: the nearest slice.
        grid: upright window on the nearest slice, centred on the canal.
        recesses: (2, 3) left and right subarticular points, mm LPS.
        evidence: (2,) heatmap probability of each recess; 0 means placed by geometry.
    """

    item: Slice
    grid: SlicePlane
    recesses: FloatArray
    evidence: FloatArray

    @property
    def shows_spine(self) -> bool:
        """Whether a recess is found with some certainty; on noise, other anatomy or an empty frame none is."""
        return bool(self.evidence.max() >= SHOWS_SPINE)

    @property
    def confidence(self) -> FloatArray:
        """Estimated probability (2,) that a recess lies within reach of a reader's mark, if the level is right."""
        return recess_confidence(self.evidence)

    @property
    def centre(self) -> FloatArray:
        """Midpoint of the recesses, mm LPS, shape (3,)."""
        return np.asarray(self.recesses.mean(axis=0))


AxialLevels = tuple[AxialLevel | None, ...]
"""One for each level; None where no axial slice crosses the canal near the disc, or none that does shows a spine."""

NO_AXIAL_LEVELS: AxialLevels = (None,) * len(LEVELS)


def axial_levels(study: Study, landmarks: Landmarks, nets: Sequence[HeatmapNet]) -> tuple[Study, AxialLevels]:
    """The axial slice and recesses of each level, and the study with nothing on axial slices that show no spine.

    All slices at the discs are looked at only where one of the nearest shows none; without nets there are no levels.
    """
    slices = study.slices(AXIAL_T2)
    nearest = _nearest_levels(slices, landmarks, nets)
    if all(level is None or level.shows_spine for level in nearest):
        return study, nearest
    at_discs = _levels_at_discs(slices, landmarks, nets)
    lost = {id(level.item) for level in (*nearest, *at_discs) if level and not level.shows_spine}
    levels = _nearest_levels([item for item in slices if id(item) not in lost], landmarks, nets)
    problem = f"{len(lost)} of {len(at_discs)} axial slices at the discs show no spine and are left out"
    return _emptied(study, lost, problem), tuple(level if level and level.shows_spine else None for level in levels)


def _nearest_levels(slices: Sequence[Slice], landmarks: Landmarks, nets: Sequence[HeatmapNet]) -> AxialLevels:
    places = enumerate(zip(landmarks.canal, landmarks.disc_normal, strict=True))
    nearest = {level: axial_showing(slices, canal, normal=normal) for level, (canal, normal) in places}
    chosen = {level: item for level, item in nearest.items() if item is not None}
    if not chosen or not nets:
        return NO_AXIAL_LEVELS
    found = recesses_on([*chosen.values()], landmarks.canal[[*chosen]], nets)
    by_level = dict(zip(chosen, found, strict=True))
    return tuple(by_level.get(level) for level in range(len(LEVELS)))


def _levels_at_discs(slices: Sequence[Slice], landmarks: Landmarks, nets: Sequence[HeatmapNet]) -> list[AxialLevel]:
    """The recesses on all slices near a disc, each where it crosses the canal of the nearest one."""
    apart = np.abs([[item.plane.distance(canal) for canal in landmarks.canal] for item in slices])
    near = np.flatnonzero(apart.min(axis=1) <= AXIAL_CAP_MM)
    return recesses_on([slices[int(index)] for index in near], landmarks.canal[apart[near].argmin(axis=1)], nets)


def _emptied(study: Study, lost: Collection[int], problem: str) -> Study:
    """The study with nothing on some axial slices: they keep their places, so that those beside them lack a neighbour.

    Args:
        study: whose slices are meant.
        lost: `id` of these slices.
        problem: what is wrong with them.
    """

    def left(item: Slice) -> Slice:
        return replace(item, pixels=np.zeros_like(item.pixels)) if id(item) in lost else item

    return replace(study.with_slices(AXIAL_T2, left), problems=(*study.problems, problem))


def recesses_on(slices: Sequence[Slice], canal: FloatArray, nets: Sequence[HeatmapNet]) -> list[AxialLevel]:
    """The recesses on slices whose level is known: slices and canal points (n, 3) mm LPS → n levels."""
    grids = [window_of(item, point) for item, point in zip(slices, canal, strict=True)]
    found = []
    for maps, grid, item, point in zip(heatmaps(slices, grids, nets), grids, slices, canal, strict=True):
        recesses, evidence = _recesses(maps, grid, item, canal=point)
        found.append(AxialLevel(item=item, grid=grid, recesses=recesses, evidence=evidence))
    return found


def window_of(item: Slice, centre: FloatArray) -> SlicePlane:
    """The upright search window on a slice around a patient point."""
    on_plane = item.plane.projected(centre)
    return upright_grid(item.plane, on_plane, sagittal=False, spacing=WINDOW_SPACING_MM, shape=WINDOW_SHAPE)


def _recesses(
    maps: NDArray[np.float32], grid: SlicePlane, item: Slice, *, canal: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Left and right subarticular points on a slice from their maps (2, rows, columns)."""
    points, evidence = np.empty((2, 3)), np.zeros(2)
    for side, (sign, heatmap) in enumerate(zip(SIDE_SIGNS, maps, strict=True)):
        row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
        rows, columns = (slice(max(0, k - 2), k + 3) for k in (int(row), int(column)))
        near = heatmap[rows, columns].astype(np.float64)
        if near.sum() < MIN_EVIDENCE:
            lateral, anterior = RECESS_OFFSET_MM
            points[side] = item.plane.projected(canal + sign * lateral * LEFT - anterior * POSTERIOR)
            continue
        evidence[side] = near.sum()
        cells = np.moveaxis(np.indices(heatmap.shape)[:, rows, columns], 0, -1).reshape(-1, 2)
        points[side] = grid.to_mm(pixels_at(near.reshape(-1) @ cells / near.sum()))
    return points, evidence
