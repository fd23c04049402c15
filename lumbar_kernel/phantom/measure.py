"""Measures the painted geometry: landmarks in patient mm, free space at each level, and the grades they earn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel import schema
from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.anatomy import FIRST_DISC
from lumbar_kernel.phantom.grid import SIDE_SIGN, Grid, wall
from lumbar_kernel.phantom.scene import paint
from lumbar_kernel.phantom.spine import Spine

FloatArray = NDArray[np.float64]

STEP = 0.6
"""Voxel edge of the measured block, mm."""

CUTS = {schema.CANAL: (0.214, 0.294), schema.FORAMINAL: (0.043, 0.390), schema.SUBARTICULAR: (-41.1, -21.4)}
"""Scores at which a level turns moderate and severe.

Fitted once on 800 phantoms (seeds 0–799, levels and sides pooled): quantiles of the scores at the competition's
overall shares, canal 87.8/7.5/4.8, foramen 78.0/18.1/4.0, recess 71.4/19.0/9.6 %. Scores are a crowding ratio, a
share of lost room and minus a free area in mm²; changing any mechanism or score calls for a new fit."""


@dataclass(frozen=True, eq=False)
class PhantomTruth:
    """What is true of a phantom by construction; points in mm patient LPS.

    Attributes:
        disc_margin: (5, 3) posterior disc margin in the mid-sagittal plane.
        canal: (5, 3) centre of the dural sac at the disc's mid-plane.
        foramina: (5, 2, 3) middle of each foramen's opening, sides left and right.
        recesses: (5, 2, 3) middle of each subarticular zone.
        disc_normal: (5, 3) unit normals of the discs, cranial.
        grades: (25,) 0 to 2 in the order of `schema.ROWS`.
        scores: (25,) measured narrowing behind the grades, larger is worse.
    """

    disc_margin: FloatArray
    canal: FloatArray
    foramina: FloatArray
    recesses: FloatArray
    disc_normal: FloatArray
    grades: NDArray[np.int64]
    scores: FloatArray


def measure(spine: Spine) -> PhantomTruth:
    """Paint a fine block round the canal and measure every level in it."""
    frame = spine.frame
    discs = frame.disc_s[FIRST_DISC : FIRST_DISC + 5]
    grid = Grid.empty((-33, 33), (-7, 24), (discs[-1] - 20, discs[0] + 22), STEP)
    paint(spine, grid)
    spots = [_Spot(spine, grid, level) for level in range(5)]
    margin = np.array([[0.0, float(spine.protrusion(np.zeros(1, np.float32), s.disc)[0]), s.middle] for s in spots])
    canal = np.array([s.sac_centre() for s in spots])
    foramina = np.array([[s.foramen_centre(side) for side in range(2)] for s in spots])
    recesses = np.array([[s.recess_centre(side) for side in range(2)] for s in spots])
    scores = np.zeros(25)
    for level, spot in enumerate(spots):
        scores[schema.row_index(schema.CANAL, level)] = spot.canal_score()
        for side in range(2):
            scores[schema.row_index(schema.FORAMINAL, level, side)] = spot.foramen_score(side)
            scores[schema.row_index(schema.SUBARTICULAR, level, side)] = spot.recess_score(side)
    return PhantomTruth(
        disc_margin=frame.to_patient(margin),
        canal=frame.to_patient(canal),
        foramina=frame.to_patient(foramina),
        recesses=frame.to_patient(recesses),
        disc_normal=frame.direction(discs),
        grades=grade(scores),
        scores=scores,
    )


def grade(scores: FloatArray) -> NDArray[np.int64]:
    """Grades (25,) of measured scores (25,) by the fixed cuts."""
    cuts = np.array([CUTS[schema.group_of(row)] for row in schema.ROWS])
    grades: NDArray[np.int64] = (scores[:, None] >= cuts).sum(axis=1).astype(np.int64)
    return grades


class _Spot:
    """One level of a measured block."""

    def __init__(self, spine: Spine, grid: Grid, level: int) -> None:
        self.spine, self.grid, self.level = spine, grid, level
        self.disc = FIRST_DISC + level
        self.middle = float(spine.frame.disc_s[self.disc])
        self.slab = np.abs(grid.s - self.middle)

    def _free(self, *, reach: float) -> NDArray[np.bool_]:
        ids = self.grid.ids[:, :, self.slab < reach]
        free: NDArray[np.bool_] = np.isin(ids, (tissue.FAT, tissue.CSF, tissue.ROOT, tissue.CORD))
        return free

    def _sac(self, *, reach: float) -> NDArray[np.bool_]:
        near = np.abs(self.grid.u) < 0.5 * self.spine.anatomy.sac_width[self.level] + 0.3
        ids = self.grid.ids[:, :, self.slab < reach]
        sac: NDArray[np.bool_] = np.isin(ids, (tissue.CSF, tissue.ROOT, tissue.CORD)) & near[:, None, None]
        return sac

    def canal_score(self) -> float:
        """Crowding: area of the roots over the area of the sac in its narrowest plane within 4 mm of the disc."""
        area = self._sac(reach=4.0).sum(axis=(0, 1)).min() * STEP**2
        return float(self.spine.anatomy.root_area[self.level] / max(area, 1.0))

    def sac_centre(self) -> tuple[float, float, float]:
        """Middle of the sac at the disc, spine coordinates; the nominal middle where nothing of it is left."""
        i, j, _ = np.nonzero(self._sac(reach=1.5))
        if len(i) == 0:
            a = self.spine.anatomy
            return 0.0, float(a.anterior_fat[self.level] + 0.5 * a.sac_depth[self.level]), self.middle
        return float(self.grid.u[i].mean()), float(self.grid.v[j].mean()), self.middle

    def _recess_window(self, side: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_], float]:
        across = 0.5 * float(self.spine.anatomy.sac_width[self.level]) + 0.5
        columns = np.abs(SIDE_SIGN[side] * self.grid.u - across) < 3.0
        width, depth = self.spine.disc_size(self.disc)
        start = float(wall(np.array([across], dtype=np.float32), width, depth)[0])
        return columns, (self.grid.v > start - 0.5) & (self.grid.v < start + 9.5), across

    def recess_score(self, side: int) -> float:
        """Minus the free area (mm²) between disc and joint where the traversing root runs, mean within 3 mm."""
        columns, rows, _ = self._recess_window(side)
        free = self._free(reach=3.0)[columns][:, rows]
        return -float(free.sum() / free.shape[-1] * STEP**2)

    def recess_centre(self, side: int) -> tuple[float, float, float]:
        """Middle of what is free in the recess at the disc, spine coordinates; 4 mm behind the wall if nothing is."""
        columns, rows, across = self._recess_window(side)
        free = self._free(reach=1.5)[columns][:, rows]
        _, j, _ = np.nonzero(free)
        v = self.grid.v[rows]
        return SIDE_SIGN[side] * across, float(v[j].mean() if len(j) > 5 else v[0] + 4.0), self.middle

    def _foramen_block(self, side: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        inner, outer, bottom, top = self.spine.foramen_box(self.disc)
        u = SIDE_SIGN[side] * self.grid.u
        planes = np.abs(u - 0.5 * (inner + outer)) < 3.5
        heights = (self.grid.s > bottom) & (self.grid.s < top)
        return self.grid.ids[planes][:, :, heights], self.grid.u[planes], self.grid.s[heights]

    def foramen_score(self, side: int) -> float:
        """One minus what is left round the ganglion: fat in a 4 mm shell, the ganglion's own room, fat overall."""
        ids, u, s = self._foramen_block(side)
        centre_u, centre_v, centre_s = self.spine.ganglion_centre(self.disc, side)
        radius = 0.5 * self.spine.anatomy.ganglion[self.level]
        shift = (np.abs(u) - abs(centre_u)) * 0.75
        ring = np.hypot(
            self.grid.v[None, :, None] - centre_v, (s[None, None, :] - centre_s + shift[:, None, None]) * 0.85
        )
        fat = (ids == tissue.FAT) | (ids == tissue.VESSEL)
        shell = (ring > radius) & (ring < radius + 4.0)
        core = ring < radius - 0.3
        around = fat[shell].mean()
        room = (ids == tissue.GANGLION)[core].mean()
        area = fat.sum() / len(u) * STEP**2
        return float(1 - (0.4 * around + 0.2 * room + 0.4 * area / 240.0))

    def foramen_centre(self, side: int) -> tuple[float, float, float]:
        """Middle of the opening in the plane of the ganglion, spine coordinates."""
        ids, _, s = self._foramen_block(side)
        opening = np.isin(ids, (tissue.FAT, tissue.GANGLION, tissue.VESSEL))
        centre_u, centre_v, centre_s = self.spine.ganglion_centre(self.disc, side)
        _, j, k = np.nonzero(opening)
        if len(j) < 20:
            return centre_u, centre_v, centre_s
        return centre_u, float(self.grid.v[j].mean()), float(s[k].mean())
