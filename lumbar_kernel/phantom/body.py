"""The body around the spine: muscles, fat, vessels, kidneys, bowel and skin, at low cost and resolution."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import Float32Array
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.anatomy import Anatomy
from lumbar_kernel.phantom.body_outline import HEIGHTS, BodyOutline, tabled
from lumbar_kernel.phantom.contrast import Tables
from lumbar_kernel.phantom.frame import SpineFrame
from lumbar_kernel.phantom.texture import Texture

Ids = NDArray[np.uint8]
Place = tuple[Float32Array, Float32Array, Float32Array]

LOOPS, ORGANS = 36, 3
"""Numbers of bowel loops in the belly, and of organs in front of the sacrum."""

COARSE = 2
"""The body is painted this many times coarser than the slice and then enlarged; its texture is as fine as the slice."""

FIBRES, LOBULES = (1.9, 1.9, 0.22), (1.0, 1.0, 0.7)
"""Nodes of the texture per mm for streaks of fat along the muscles, and for fat lobules and their septa."""


@dataclass(frozen=True, eq=False)
class Body:
    """Shapes of the body in spine coordinates.

    Attributes:
        anatomy, frame: the spine inside.
        outline: of the body.
        psoas: size factor of the psoas.
        bowel: (n, 5) u, v, s, radius and a number that selects the filling, of bowel loops and the bladder.
        vessels: shift of aorta and vein to the left of their usual place, mm.
    """

    anatomy: Anatomy
    frame: SpineFrame
    outline: BodyOutline
    psoas: float
    bowel: NDArray[np.float64]
    vessels: float

    @classmethod
    def draw(cls, anatomy: Anatomy, frame: SpineFrame, rng: np.random.Generator) -> Body:
        """Draw a body round a spine."""
        outline, psoas = BodyOutline.draw(anatomy, frame, rng), float(rng.uniform(0.8, 1.25))
        loops = rng.uniform((-90, -150, -110, 6, 0), (90, -68, 130, 18, 1), (LOOPS, 5))
        pelvis = float(frame.lumbar_disc_s[-1])
        organs = rng.uniform((-25, -110, pelvis - 110, 14, 0), (25, -35, pelvis - 35, 30, 1), (ORGANS, 5))
        return cls(anatomy, frame, outline, psoas, np.concatenate([loops, organs]), float(rng.normal(0, 4)))

    def signal(
        self, place: Place, plane: SlicePlane, tables: Tables, texture: Texture
    ) -> tuple[Float32Array, Float32Array]:
        """Signal of the body's water and of its fat at the pixels of a slice, float32 of its shape.

        Args:
            place: spine coordinates of the pixels.
            plane: of the slice.
            tables: signals per tissue.
            texture: grain of muscle and fat.
        """
        shape = place[0].shape
        small = -(-shape[1] // COARSE), -(-shape[0] // COARSE)
        u, v, s = (cv2.resize(x, small, interpolation=cv2.INTER_LINEAR) for x in place)
        ids = self.ids((u, v, s), self.frame.upright(plane, small[::-1]))
        water, fat = cv2.LUT(ids, tables.water), cv2.LUT(ids, tables.fat)
        muscle = (ids == tissue.MUSCLE) & (v > -10)
        greasy = (ids == tissue.FAT) | (ids == tissue.SKIN_FAT)
        water, fat, muscle, greasy = (
            cv2.resize(part.astype(np.float32), shape[::-1], interpolation=cv2.INTER_LINEAR)
            for part in (water, fat, muscle, greasy)
        )
        u, v, s = place
        low = np.clip((np.float32(self.frame.lumbar_disc_s[2]) - s) / 70, -0.6, 1.0)
        deep = np.exp(-((u / 24) ** 2))
        threshold = 1.55 - np.float32(2.0 * self.anatomy.fatness) - 0.45 * low - 0.6 * deep
        streaks = np.clip((texture.at(u + 0.35 * v, v + 0.22 * s, s, FIBRES) - threshold) * 0.6, 0, 0.7) * muscle
        water = water + streaks * (tables.water[tissue.FAT] - water)
        fat = fat + streaks * (tables.fat[tissue.FAT] - fat)
        septa = texture.at(u, v, s, LOBULES)
        fat *= 1 - 0.2 * greasy * np.clip(1 - np.abs(septa) * 5, 0, 1) * (v > 20)
        fat *= 1 - 0.55 * greasy * np.clip(septa - 1.1, 0, 1) * (v < 10)
        return water, fat

    def ids(self, place: Place, upright: Place) -> Ids:
        """Tissues of background points, uint8 of the common shape of the coordinates.

        Args:
            place: in spine coordinates.
            upright: along the spine's own axes; unlike spine coordinates these are continuous behind a bent spine.
        """
        (u, v, s), (x, y, z) = place, upright
        out = np.full(u.shape, tissue.FAT, dtype=np.uint8)
        side = np.abs(u)
        depth = tabled(s, np.interp(HEIGHTS, self.frame.body_s[::-1], self.anatomy.body_depth[::-1]))
        self._bowel(out, u, v, s)
        self._vessels(out, u, v + depth, s)
        behind = y - self.outline.back(side, z)
        self._muscles(out, u, side, v, s, behind)
        self._pelvis(out, side, v, s)
        self._skin(out, np.abs(x), y, z, behind)
        return out

    def _bowel(self, out: Ids, u: Float32Array, v: Float32Array, s: Float32Array) -> None:
        bounds = [(float(x.min()), float(x.max())) for x in (u, v, s)]
        wobble = 1 + 0.2 * np.sin(0.2 * u + 0.11 * s) * np.cos(0.17 * v + 0.13 * s)
        for across, back, up, radius, filling in self.bowel.tolist():
            reach = 1.3 * radius
            if any(
                c + reach < low or c - reach > high for c, (low, high) in zip((across, back, up), bounds, strict=True)
            ):
                continue
            far = ((u - across) ** 2 + (v - back) ** 2 + (0.8 * (s - up)) ** 2) * wobble
            out[far < radius**2] = tissue.BOWEL
            if filling > 0.6:
                out[far < (radius - 3) ** 2] = tissue.VESSEL if filling > 0.75 else tissue.CYST

    def _vessels(self, out: Ids, u: Float32Array, front: Float32Array, s: Float32Array) -> None:
        split = np.clip((float(self.frame.body_s[6]) - s) / 60, 0, 1.2).astype(np.float32)
        for across, ahead, radius, sign in ((11, -12, 9, 1), (-15, -10, 10, -1)):
            flat = 1.0 if sign > 0 else 1.35  # the vein is flattened
            for away in (1.0, -1.0):
                centre = (across + self.vessels) * (1 - np.minimum(split, 1)) + split * (26.0 * away + 4 * sign)
                size = np.where(split > 0, np.float32(radius * 0.62), np.float32(radius))
                far = ((u - centre) / flat) ** 2 + ((front - ahead) * flat) ** 2
                out[far < (size + 1.0) ** 2] = tissue.MUSCLE
                out[far < size**2] = tissue.VESSEL

    def _muscles(
        self,
        out: Ids,
        u: Float32Array,
        side: Float32Array,
        v: Float32Array,
        s: Float32Array,
        behind: Float32Array,
    ) -> None:
        upper, lower = float(self.frame.lumbar_disc_s[0]), float(self.frame.lumbar_disc_s[-1])
        down = np.clip((upper - s) / (upper - lower), -0.2, 1.35).astype(np.float32)
        wide, high = self.psoas * (7 + 13 * down), self.psoas * (10 + 12 * down)
        psoas = (
            np.abs((side - 25 - 0.85 * wide) / np.maximum(wide, 1)) ** 2.4 + np.abs((v + 15 + 7 * down) / high) ** 2.4
        )
        out[(psoas < 1) & (s < upper + 15)] = tissue.MUSCLE
        out[((side - 68) / 20) ** 2 + ((v - 1 + 0.12 * (side - 68)) / 9) ** 2 < 1] = tissue.MUSCLE
        kidney_s = s - float(self.frame.body_s[4]) + np.where(u > 0, 0, 12)
        kidney = ((side - 62) / 26) ** 2 + ((v + 20) / 23) ** 2 + (kidney_s / 52) ** 2
        out[kidney < 1] = tissue.KIDNEY
        out[((side - 54) / 12) ** 2 + ((v + 22) / 8) ** 2 + (kidney_s / 24) ** 2 < 1] = tissue.SINUS
        middle = 0.5 * self.anatomy.muscle_depth
        wide_part, deep_part = ((side - 30) / 43) ** 2, ((v - middle + 2) / (middle + 4 + 0.05 * side)) ** 2
        back = (behind < 0) & (wide_part * wide_part + deep_part * deep_part < 1)
        bent = side - 24 - 0.25 * (v - 22) + 1.5 * np.sin(0.12 * v)
        septum = (np.abs(bent) < 0.8) | ((np.abs(side - 48 + 0.5 * (v - 20)) < 0.6) & (v > 8))
        out[back & ~septum] = tissue.MUSCLE

    def _pelvis(self, out: Ids, side: Float32Array, v: Float32Array, s: Float32Array) -> None:
        top = float(self.frame.lumbar_disc_s[-1]) - 3
        below = top - s
        wing = (below > 8) & (side < 26 + 0.9 * np.minimum(below, 30)) & (v > -22 + 0.25 * side) & (v < 9)
        out[wing & (side > 46) & (below < 45)] = tissue.MARROW
        self._tail(out, side, v, s)
        across = v - 8 + 0.55 * (side - 62)
        crest = (side > 58 - 0.1 * below) & (side < 64 + 1.2 * np.maximum(below + 25, 0)) & (below > -25)
        out[(np.abs(across) < 7) & crest] = tissue.CORTEX
        out[(np.abs(across) < 6) & crest] = tissue.MARROW

    def _tail(self, out: Ids, side: Float32Array, v: Float32Array, s: Float32Array) -> None:
        """The end of the sacrum and the tail bone below S3, a tapering plate of five pieces."""
        below = float(self.frame.body_s[-1] - self.anatomy.body_height[-1] / 2) - s
        if below.max() < -2:
            return
        edge = np.minimum(16 - 0.24 * below - side, np.minimum(v + 13 - 0.16 * below, -1 - v))
        edge = np.minimum(edge, np.minimum(below + 2, 58 - below))
        out[edge > 0] = tissue.CORTEX
        out[(edge > 1.2) & (np.abs((below + 1) % 14 - 7) < 6.2)] = tissue.MARROW

    def _skin(self, out: Ids, side: Float32Array, y: Float32Array, z: Float32Array, behind: Float32Array) -> None:
        skin, front = self.outline.surfaces(side, z)
        out[(behind > 0) & (behind < 1.6)] = tissue.LIGAMENT
        out[behind >= 1.6] = tissue.SKIN_FAT
        out[(y > skin - 2.2) | (y < front + 2.2)] = tissue.SKIN
        wall = y - front - 0.8 * self.anatomy.skin_fat
        out[(wall > 5) & (wall < 14)] = tissue.MUSCLE
        out[(y > skin) | (y < front)] = tissue.AIR
