"""Measure the painted geometry: landmarks in patient mm, free space at each level, and the resulting grades."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel import schema
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import SIDE_SIGNS
from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.anatomy import FIRST_DISC
from lumbar_kernel.phantom.grade_thresholds import SCALES, THRESHOLDS
from lumbar_kernel.phantom.grid import VoxelGrid, wall
from lumbar_kernel.phantom.spine import Spine

Mask = NDArray[np.bool_]
Measures = dict[str, FloatArray]

READ_AT = 0.37
"""Fraction of the pedicle's width, from its inner side, at which radiologists mark a foramen: 15 to 19 mm from the
midline in the competition's labels, L1 to L5."""

MEASURES = (
    *("sac_area", "root_area", "sac_depth", "crowding", "disc_height", "flavum_left", "flavum_right"),
    *("fat_left", "fat_right", "lost_sides_left", "lost_sides_right", "squeezed_left", "squeezed_right"),
    *("foramen_area_left", "foramen_area_right", "foramen_height_left", "foramen_height_right"),
    *("foramen_width_left", "foramen_width_right", "posterior_fat"),
    *("recess_left", "recess_right", "free_left", "free_right", "flat_left", "flat_right"),
)
"""What is measured at each level, mm and mm²; see `_Spot` for how."""


@dataclass(frozen=True, eq=False)
class PhantomTruth:
    """Ground truth of a phantom by construction; points in patient mm, LPS.

    Attributes:
        disc_margin: (5, 3) posterior disc margin in the mid-sagittal plane.
        canal: (5, 3) centre of the dural sac at the disc's mid-plane.
        foramina: (5, 2, 3) middle of each foramen's opening, sides left and right.
        recesses: (5, 2, 3) middle of each subarticular zone.
        disc_normal: (5, 3) unit normals of the discs, cranial.
        grades: (25,) 0 to 2 in the order of `schema.ROWS`.
        scores: (25,) measured narrowing behind the grades, larger is worse.
        measures: (5,) per name of `MEASURES`, from which the scores are computed.
    """

    disc_margin: FloatArray
    canal: FloatArray
    foramina: FloatArray
    recesses: FloatArray
    disc_normal: FloatArray
    grades: NDArray[np.int64]
    scores: FloatArray
    measures: Measures

    def point_of(self, target: schema.Target) -> FloatArray:
        """The point (3,) at which a target is graded."""
        points = {"canal": self.canal, "foramen": self.foramina, "recess": self.recesses}
        of_level: FloatArray = points[schema.PLACES[target.group]][schema.LEVELS.index(target.level)]
        return of_level[schema.SIDES.index(target.side)] if target.side else of_level


def measure(spine: Spine, grid: VoxelGrid) -> PhantomTruth:
    """Measure every level of a painted grid."""
    frame = spine.frame
    spots = [_Spot(spine, grid, level) for level in range(5)]
    margin = np.array([[0.0, spine.margin(spot.disc), spot.middle] for spot in spots])
    canal = np.array([spot.sac_centre() for spot in spots])
    foramina = np.array([[spot.foramen_centre(side) for side in range(2)] for spot in spots])
    recesses = np.array([[spot.recess_centre(side) for side in range(2)] for spot in spots])
    rows = [spot.measures() for spot in spots]
    measures = {name: np.array([row[name] for row in rows]) for name in MEASURES}
    scores = score(measures)
    return PhantomTruth(
        disc_margin=frame.to_patient(margin),
        canal=frame.to_patient(canal),
        foramina=frame.to_patient(foramina),
        recesses=frame.to_patient(recesses),
        disc_normal=frame.direction(frame.lumbar_disc_s),
        grades=grade(scores),
        scores=scores,
        measures=measures,
    )


def _both(name: str) -> Callable[[Measures], tuple[FloatArray, ...]]:
    return lambda measures: tuple(measures[f"{name}_{side}"] for side in schema.SIDES)


SCALED: dict[str, Callable[[Measures], tuple[FloatArray, ...]]] = {
    "crowding": lambda measures: (measures["crowding"],),
    "log_area": lambda measures: (np.log(np.maximum(measures["sac_area"], 8.0)),),
    "sac_depth": lambda measures: (measures["sac_depth"],),
    "fat": _both("fat"),
    "recess": _both("recess"),
    "free": _both("free"),
}
"""Measures that enter the scores in units of their spread: one array for the canal, one per side for the others."""


def score(measures: Measures, *, scales: dict[str, tuple[float, float]] = SCALES) -> FloatArray:
    """Scores (25,) in the order of `schema.ROWS` from measures (5,) per name.

    Crowding has a large weight and area a small one: otherwise the canal's grade would be determined by the sac's area.
    """
    z = {name: [(x - scales[name][0]) / scales[name][1] for x in part(measures)] for name, part in SCALED.items()}
    scores = np.zeros(25)
    canal = 0.75 * z["crowding"][0] - 0.10 * z["log_area"][0] - 0.15 * z["sac_depth"][0]
    for level in range(5):
        scores[schema.row_index(schema.CANAL, level)] = canal[level]
        for number, side in enumerate(schema.SIDES):
            lost, squeezed, flat = (measures[f"{name}_{side}"][level] for name in ("lost_sides", "squeezed", "flat"))
            foramen = -z["fat"][number][level] + 0.25 * lost + 1.5 * squeezed
            scores[schema.row_index(schema.FORAMINAL, level, number)] = foramen
            recess = -0.5 * z["recess"][number][level] - 0.5 * z["free"][number][level] + 1.2 * flat
            scores[schema.row_index(schema.SUBARTICULAR, level, number)] = recess
    return scores


def grade(scores: FloatArray) -> NDArray[np.int64]:
    """Grades (..., 25) of measured scores (..., 25) by the frozen thresholds.

    Raises:
        ValueError: these are for other rows or grades.
    """
    if THRESHOLDS.shape != (len(schema.ROWS), schema.SEVERE):
        msg = f"grade_thresholds.py has thresholds {THRESHOLDS.shape} for {len(schema.ROWS)} rows, {schema.SEVERE} each"
        raise ValueError(msg)
    grades: NDArray[np.int64] = (scores[..., None] >= THRESHOLDS).sum(axis=-1).astype(np.int64)
    return grades


class _Spot:
    """One level of a painted grid."""

    def __init__(self, spine: Spine, grid: VoxelGrid, level: int) -> None:
        self.spine, self.grid, self.level = spine, grid, level
        self.disc = FIRST_DISC + level
        self.middle = float(spine.frame.disc_s[self.disc])
        self.step = float(grid.u[1] - grid.u[0])

    def _block(self, u: tuple[float, float], v: tuple[float, float], *, reach: float) -> tuple[slice, slice, slice]:
        ranges = (self.grid.u, u), (self.grid.v, v), (self.grid.s, (self.middle - reach, self.middle + reach))
        i, j, k = (slice(*(int(x) for x in np.searchsorted(axis, ends))) for axis, ends in ranges)
        return i, j, k

    def measures(self) -> dict[str, float]:
        """All numbers of this level by the names of `MEASURES`."""
        a, level = self.spine.anatomy, self.level
        area, depth = self._sac_size()
        roots = float(a.root_area[level])
        found = {
            "sac_area": area,
            "sac_depth": depth,
            "root_area": roots,
            "crowding": min(roots / max(area, 8.0), 1.5),
            "disc_height": float(a.disc_height[self.disc]),
            "posterior_fat": self._posterior_fat(),
        }
        for number, side in enumerate(schema.SIDES):
            found[f"flavum_{side}"] = float(a.flavum[level, number])
            for name, value in (*self._foramen(number).items(), *self._recess(number).items()):
                found[f"{name}_{side}"] = value
        return found

    def _sac(self, *, reach: float) -> tuple[Mask, tuple[slice, slice, slice]]:
        wide = 0.5 * float(self.spine.anatomy.sac_width[self.level]) + 0.5
        block = self._block((-wide, wide), (-3, 28), reach=reach)
        return np.isin(self.grid.ids[block], tissue.SAC), block

    def _sac_size(self) -> tuple[float, float]:
        """Area (mm²) and midline depth (mm) of the sac in its narrowest stretch of 2 mm within 4 mm of the disc."""
        sac, (i, j, k) = self._sac(reach=4.0)
        depths = self._depths(sac, j, k)
        areas = np.convolve(depths.sum(axis=0), np.ones(4) / 4, mode="valid") * self.step
        worst = int(np.argmin(areas))
        near = np.abs(self.grid.u[i]) < 1.5
        return float(areas[worst]), float(depths[near, worst : worst + 4].mean())

    def _posterior_fat(self) -> float:
        """Thickness of the fat behind the sac in the midline, mean within 4 mm of the disc, mm."""
        i, j, k = self._block((-0.6, 0.6), (2, 34), reach=4.0)
        ids = self.grid.ids[i, j, k]
        behind = np.cumsum(np.isin(ids, tissue.SAC)[:, ::-1], axis=1)[:, ::-1] == 0
        return float(((ids == tissue.FAT) & behind).sum(axis=1).max(axis=0).mean() * self.step)

    def _depths(self, mask: Mask, j: slice, k: slice) -> FloatArray:
        """Depth of a mask (u, v, s) along v, (u, s) mm, as a slip leaves it: an arch that comes forwards narrows."""
        v, s = self.grid.v[j].astype(np.float64), self.grid.s[k].astype(np.float64)
        real = self.spine.frame.unslipped(v[:, None], s[None, :])
        depths: FloatArray = np.einsum("uvs,vs->us", mask, np.gradient(real, axis=0))
        return depths

    def sac_centre(self) -> tuple[float, float, float]:
        """Middle of the sac at the disc, spine coordinates; the nominal middle where little of it is left."""
        sac, (i, j, _) = self._sac(reach=1.5)
        across, back, _ = np.nonzero(sac)
        if len(across) < 30:
            a = self.spine.anatomy
            return 0.0, float(a.anterior_fat[self.level] + 0.5 * a.sac_depth[self.level]), self.middle
        return float(self.grid.u[i][across].mean()), float(self.grid.v[j][back].mean()), self.middle

    def _recess_place(self) -> tuple[float, float]:
        """Distance from the midline and v of the traversing root at the disc's middle."""
        _, out, place = self.spine.traversing_root(self.disc, np.array([self.middle], dtype=np.float32))
        return float(out[0]), float(place[0])

    def _recess_block(
        self, side: int, *, half: float, reach: float
    ) -> tuple[Mask, tuple[slice, slice, slice], float, float]:
        """Free voxels, their place in the grid, and where the root belongs: distance from the midline and v."""
        across, place = self._recess_place()
        width, depth = self.spine.disc_size(self.disc)
        start = float(wall(np.array([across], dtype=np.float32), width, depth)[0])
        centre = SIDE_SIGNS[side] * across
        i, j, k = self._block((centre - half, centre + half), (start - 1, start + 13), reach=reach)
        ids = self.grid.ids[i, j, k]
        free = np.isin(ids, (tissue.FAT, tissue.VEIN, *tissue.SAC))
        return free, (i, j, k), across, place

    def _recess(self, side: int) -> dict[str, float]:
        """Depth (mm) and free area (mm²) where the traversing root runs, worst 2 mm near the disc; its flattening."""
        free, (_, j, k), _, place = self._recess_block(side, half=3.0, reach=3.0)
        width = free.shape[0]
        columns = self._depths(free[width // 2 - 2 : width // 2 + 3], j, k).mean(axis=0)
        near = np.abs(self.grid.v[j] - place) < 5
        areas = self._depths(free & near[:, None], j, k).sum(axis=0) * self.step
        window = np.ones(4) / 4
        depths = np.convolve(columns, window, mode="valid")
        depth = float(depths.min())
        return {
            "recess": depth,
            "free": float(np.convolve(areas, window, mode="valid").min()),
            "flat": float(np.clip(1 - depth / 3.6, 0, 1)),
        }

    def recess_centre(self, side: int) -> tuple[float, float, float]:
        """Middle of what is free in the recess at the disc, spine coordinates; where the root belongs if nothing is."""
        free, (_, j, _), across, place = self._recess_block(side, half=2.5, reach=1.5)
        _, back, _ = np.nonzero(free)
        return SIDE_SIGNS[side] * across, float(self.grid.v[j][back].mean() if len(back) > 30 else place), self.middle

    def _foramen_block(self, side: int) -> tuple[NDArray[np.uint8], FloatArray, FloatArray, FloatArray]:
        inner, outer, bottom, top = self.spine.foramen_box(self.disc)
        half, middle = 3.5, SIDE_SIGNS[side] * 0.5 * (inner + outer)
        i, j, _ = self._block((middle - half, middle + half), (-9, 15), reach=1)
        k = slice(*(int(x) for x in np.searchsorted(self.grid.s, (bottom - 1, top + 3))))
        u, v, s = (x.astype(np.float64) for x in (self.grid.u[i], self.grid.v[j], self.grid.s[k]))
        return self.grid.ids[i, j, k], u, v, s

    def _foramen(self, side: int) -> dict[str, float]:
        """The free space around the ganglion over the pedicle's inner 7 mm.

        Fat share of a 2.5 mm shell, how many of its four quadrants have lost nearly all fat, how much of the
        ganglion's own room is taken; area (mm²) and greatest width (mm) of the opening, and its height between the
        pedicles.
        """
        ids, u, v, s = self._foramen_block(side)
        across, back, up = self.spine.ganglion_centre(self.disc, side)
        radius = 0.5 * float(self.spine.anatomy.ganglion[self.level])
        slant = (np.abs(u) - abs(across)) * 0.75
        nerve = ids == tissue.GANGLION
        if nerve.sum() > 60:
            _, j, k = np.nonzero(nerve)
            i = np.nonzero(nerve)[0]
            back, up = float(v[j].mean()), float((s[k] + slant[i]).mean())
        dv, ds = v[None, :, None] - back, s[None, None, :] - up + slant[:, None, None]
        far = np.hypot(dv, 0.88 * ds) - radius
        shell = (far > 0) & (far < 2.5)
        fat = np.isin(ids, tissue.FORAMINAL_FAT)
        along = np.abs(ds) > np.abs(dv)
        quadrants = (along & (ds > 0), along & (ds < 0), ~along & (dv > 0), ~along & (dv < 0))
        shares = [float(fat[shell & part].mean()) for part in quadrants]
        core = far < -0.3
        _, _, bottom, top = self.spine.foramen_box(self.disc)
        opening = fat | nerve
        return {
            "fat": float(fat[shell].mean()),
            "lost_sides": float(sum(np.clip((0.2 - share) / 0.15, 0, 1) for share in shares)),
            "squeezed": float(1 - nerve[core].mean()),
            "foramen_area": float(opening.sum() / len(u) * self.step**2),
            "foramen_height": top - bottom,
            "foramen_width": float(opening.sum(axis=1).max(axis=1).mean() * self.step),
        }

    def foramen_centre(self, side: int) -> tuple[float, float, float]:
        """Middle of the opening, in the sagittal plane that radiologists choose for it, spine coordinates."""
        ids, _, v, s = self._foramen_block(side)
        opening = np.isin(ids, (tissue.GANGLION, *tissue.FORAMINAL_FAT)) & (v < 12)[None, :, None]
        _, back, up = self.spine.ganglion_centre(self.disc, side)
        a = self.spine.anatomy
        across = SIDE_SIGNS[side] * float(0.5 * a.canal_width[self.disc] + READ_AT * a.pedicle_width[self.disc])
        _, j, k = np.nonzero(opening)
        if len(j) < 60:
            return across, back, up
        return across, float(v[j].mean()), float(s[k].mean())
