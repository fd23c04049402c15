"""The body round the spine: muscles, fat, vessels, kidneys, bowel and skin, cheaply and softly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.anatomy import Anatomy
from lumbar_kernel.phantom.frame import SpineFrame

Float32Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Body:
    """Shapes of the body in spine coordinates.

    Attributes:
        anatomy, frame: the spine inside.
        belly: depth of the trunk in front of the posterior walls, mm.
        half_width: half the trunk's width, mm.
        psoas: size factor of the psoas.
        bowel: (n, 5) u, v, s, radius and a number that picks the filling, of bowel loops.
    """

    anatomy: Anatomy
    frame: SpineFrame
    belly: float
    half_width: float
    psoas: float
    bowel: NDArray[np.float64]

    @classmethod
    def draw(cls, anatomy: Anatomy, frame: SpineFrame, rng: np.random.Generator) -> Body:
        """Draw a body round a spine."""
        bowel = np.stack(
            [
                rng.uniform(-110, 110, 26),
                rng.uniform(-140, -62, 26),
                rng.uniform(-150, 130, 26),
                rng.uniform(10, 24, 26),
                rng.random(26),
            ],
            axis=1,
        )
        belly = 85 + 2.0 * anatomy.skin_fat + rng.normal(0, 10)
        return cls(anatomy, frame, float(belly), float(rng.normal(165, 12)), float(rng.uniform(0.8, 1.25)), bowel)

    def ids(self, u: Float32Array, v: Float32Array, s: Float32Array) -> NDArray[np.uint8]:
        """Tissues of background points, uint8 of the common shape of the coordinates."""
        out = np.full(u.shape, tissue.FAT, dtype=np.uint8)
        side = np.abs(u)
        depth = np.interp(s, self.frame.body_s[::-1], self.anatomy.body_depth[::-1]).astype(np.float32)
        self._bowel(out, u, v, s)
        self._vessels(out, u, v + depth, s)
        self._muscles(out, side, v, s)
        self._pelvis(out, side, v, s)
        self._trunk(out, u, side, v, s)
        return out

    def back(self, side: Float32Array, s: Float32Array) -> Float32Array:
        """Where the back muscles end (v), at a distance from the midline and a height."""
        low = self.frame.disc_s[7]
        depth = np.interp(s, (low - 60, low, 0, 120), (0.55, 0.82, 1.0, 0.92)).astype(np.float32)
        groove = 6 * np.exp(-((side / 12) ** 2))
        far = side / 62
        surface: Float32Array = self.anatomy.muscle_depth * depth - groove - 14 * far * far * far
        return surface

    def _bowel(self, out: NDArray[np.uint8], u: Float32Array, v: Float32Array, s: Float32Array) -> None:
        bounds = [(float(x.min()), float(x.max())) for x in (u, v, s)]
        for across, back, up, radius, filling in self.bowel.tolist():
            reach = 1.3 * radius
            if any(
                c + reach < low or c - reach > high for c, (low, high) in zip((across, back, up), bounds, strict=True)
            ):
                continue
            inside = (u - across) ** 2 + (v - back) ** 2 + (0.8 * (s - up)) ** 2 < radius**2
            out[inside] = tissue.BOWEL if filling < 0.65 else tissue.VESSEL

    def _vessels(self, out: NDArray[np.uint8], u: Float32Array, front: Float32Array, s: Float32Array) -> None:
        split = np.clip((float(self.frame.body_s[6]) - s) / 60, 0, 1.2).astype(np.float32)
        for across, ahead, radius, sign in ((9, -12, 9, 1), (-15, -10, 10, -1)):
            for away in (1.0, -1.0):
                centre = across * (1 - np.minimum(split, 1)) + split * (26.0 * away + 4 * sign)
                size = np.where(split > 0, np.float32(radius * 0.62), np.float32(radius))
                out[(u - centre) ** 2 + (front - ahead) ** 2 < size**2] = tissue.VESSEL

    def _muscles(self, out: NDArray[np.uint8], side: Float32Array, v: Float32Array, s: Float32Array) -> None:
        upper, lower = float(self.frame.disc_s[3]), float(self.frame.disc_s[7])
        down = np.clip((upper - s) / (upper - lower), -0.2, 1.35).astype(np.float32)
        wide = self.psoas * (8 + 15 * down)
        high = self.psoas * (10 + 12 * down)
        psoas = ((side - 24 - 0.75 * wide) / np.maximum(wide, 1)) ** 2 + ((v + 16 + 6 * down) / high) ** 2 < 1
        out[psoas & (s < upper + 15)] = tissue.MUSCLE
        out[((side - 70) / 22) ** 2 + ((v + 2) / 10) ** 2 < 1] = tissue.MUSCLE
        out[(side > 35) & (((side - 60) / 27) ** 2 + ((v + 22 - 20 * down) / 9) ** 2 < 1) & (down > 0.1)] = (
            tissue.MUSCLE
        )
        kidney = ((side - 62) / 26) ** 2 + ((v + 14) / 23) ** 2 + ((s - float(self.frame.body_s[3]) + 12) / 52) ** 2 < 1
        out[kidney] = tissue.KIDNEY
        middle = 0.5 * self.anatomy.muscle_depth
        wide_part, deep_part = ((side - 30) / 43) ** 2, ((v - middle + 2) / (middle + 4 + 0.05 * side)) ** 2
        lobe = wide_part * wide_part + deep_part * deep_part < 1
        back = (v < self.back(side, s)) & lobe
        septum = np.abs(side - 27 - 0.15 * (v - 20)) < 0.9
        out[back & ~septum & (side > 2)] = tissue.MUSCLE

    def _pelvis(self, out: NDArray[np.uint8], side: Float32Array, v: Float32Array, s: Float32Array) -> None:
        top = float(self.frame.disc_s[7]) - 3
        below = top - s
        wing = (below > 0) & (side < 26 + 0.9 * np.minimum(below, 30)) & (v > -22 + 0.25 * side) & (v < 16 + 0.1 * side)
        out[wing & (below < 60)] = tissue.MARROW
        blade = np.abs(v - 8 + 0.55 * (side - 62)) < 7
        crest = blade & (side > 52 - 0.1 * below) & (side < 62 + 1.2 * np.maximum(below + 25, 0)) & (below > -25)
        out[crest] = tissue.MARROW
        out[crest & (np.abs(v - 8 + 0.55 * (side - 62)) > 5.6)] = tissue.CORTEX

    def _trunk(
        self, out: NDArray[np.uint8], u: Float32Array, side: Float32Array, v: Float32Array, s: Float32Array
    ) -> None:
        behind = v - self.back(np.minimum(side, 70), s)
        low = np.interp(s, (-150, -90, 60, 140), (2.2, 1.7, 0.9, 0.8)).astype(np.float32)
        fat = self.anatomy.skin_fat * low
        out[(behind > 0) & (behind < 1.6)] = tissue.CORTEX
        out[(behind >= 1.6)] = tissue.SKIN_FAT
        round_ = (side / self.half_width) ** 2.4
        skin = self.back(np.zeros_like(side), s) + fat - (self.anatomy.muscle_depth + 25) * np.clip(round_, 0, 1)
        front = -self.belly * np.sqrt(np.clip(1 - round_, 0, 1)) - 15
        outside = (v > skin) | (v < front) | (side > self.half_width)
        out[(v > skin - 2.2) | (v < front + 2.2)] = tissue.SKIN
        wall = (v < front + 0.8 * self.anatomy.skin_fat + 14) & (v > front + 0.8 * self.anatomy.skin_fat + 5)
        out[wall] = tissue.MUSCLE
        out[outside] = tissue.AIR
