"""The outline of the body around a spine: the end of the back muscles, and the skin of back and belly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import Float32Array, FloatArray
from lumbar_kernel.phantom.anatomy import Anatomy
from lumbar_kernel.phantom.frame import SpineFrame

HEIGHTS = np.arange(-240.0, 261.0)
"""Heights, mm above the middle of L3, at which what changes from the pelvis to the chest is tabled."""

REACH = 3.0
"""mm up and down in which a height of the table looks for the rearmost part of the back."""

MUSCLE, PLATE = np.array([0.32, 0.75, 1.0, 0.92]), np.array([12.0, 14.0, 0.0, 0.0])
"""Tissue behind the posterior walls 60 mm below L5/S1, at L5/S1, at L3 and at the chest: muscle as fractions of its
depth, the bone of the sacrum in mm."""

BED, PRESSED, HOLLOW = (2.0, 14.0), 0.75, (0.2, 0.8)
"""Patients lie on their backs: how far, mm, behind the mean of a free back the bed is, what of the parts beyond it is
pressed flat, and what is left of the hollow of the loins."""

LEFT = 0.35
"""Fraction of the subcutaneous fat that remains where the bed presses on it."""

THINNEST = 4.0
"""Least fat between the muscles of the back and its skin, mm."""

GROOVE = (5.0, 11.0)
"""Depth and half width, mm, of the groove between the muscles along the spinous processes."""

FLANK, OUTERMOST = 62.0, 70.0
"""Distances from the midline, mm, at which the back muscles end 14 mm further forwards, and beyond which no more."""


def tabled(z: Float32Array, table: NDArray[np.float64]) -> Float32Array:
    """Values of a table over `HEIGHTS` at the nearest heights, float32 of the shape of `z`."""
    nearest = (z - np.float32(HEIGHTS[0] - 0.5)).astype(np.int32)
    values: Float32Array = table.astype(np.float32).take(nearest, mode="clip")
    return values


@dataclass(frozen=True, eq=False)
class BodyOutline:
    """Outline of a body, which bends less than its spine, tabulated over `HEIGHTS`.

    Attributes:
        fascia: (heights,) y of the end of the back muscles in the midline, mm.
        skin: (heights,) y of the skin of the back in the midline.
        front: (heights,) y of the skin of the belly in the midline.
        half_width: half of the body's width, mm.
    """

    fascia: FloatArray
    skin: FloatArray
    front: FloatArray
    half_width: float

    @classmethod
    def draw(cls, anatomy: Anatomy, frame: SpineFrame, rng: np.random.Generator) -> BodyOutline:
        """Draw the outline of one patient; the spinous processes reach its fascia."""
        fascia, skin = _pressed(anatomy, frame, rng)
        spine = _smooth(np.interp(HEIGHTS, frame.curve_yz[:, 1], frame.curve_yz[:, 0]), 201)
        belly = 105 + 2.2 * anatomy.skin_fat + rng.normal(0, 12)
        sags = np.interp(HEIGHTS, (-200, -60, 40, 140), (0.85, 1.05, 1.0, 0.9))
        return cls(
            fascia=fascia,
            skin=skin,
            front=0.5 * spine - belly * _smooth(sags, 81),
            half_width=float(rng.normal(165, 12)),
        )

    def back(self, side: Float32Array, z: Float32Array) -> Float32Array:
        """Where the back muscles end (y), at a distance from the midline and a height."""
        (depth, width), far = GROOVE, np.minimum(side, OUTERMOST) / FLANK
        beside = depth * (1 - np.exp(-((side / width) ** 2))) - 14 * far * far * far
        surface: Float32Array = tabled(z, self.fascia) + beside
        return surface

    def surfaces(self, side: Float32Array, z: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Where the skin of the back and that of the belly lie (y)."""
        away = np.clip((side / self.half_width) ** np.float32(2.4), 0, 1)
        middle, front = tabled(z, 0.5 * (self.fascia + self.front)), tabled(z, self.front)
        skin = tabled(z, self.skin)
        return skin - (skin - middle) * away, middle - (middle - front) * np.sqrt(1 - away)


def _pressed(anatomy: Anatomy, frame: SpineFrame, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Where (y) muscles and skin of the back end, per height: free, they follow the spine; a bed flattens them."""
    fascia = _smooth(_rearmost(frame, anatomy.muscle_depth * MUSCLE), 41)
    sacrum, waist, chest = np.interp(frame.body_s[[9, 6, 1]], frame.curve_s, frame.curve_yz[:, 1])
    profile = np.interp(HEIGHTS, (sacrum - 30, sacrum + 25, waist, chest), (1.0, 1.3, 1.0, 0.65))
    free = fascia + anatomy.skin_fat * profile
    shown = slice(*np.searchsorted(HEIGHTS, (sacrum, chest)))
    over = free - free[shown].mean() - rng.uniform(*BED)
    skin = free - over * np.where(over > 0, PRESSED, 1 - rng.uniform(*HOLLOW))
    bone = _smooth(_rearmost(frame, PLATE), 41)
    skin = _smooth(np.maximum(skin, bone + 2 * THINNEST), 41)
    fascia = _smooth(np.minimum(fascia, skin - np.maximum(THINNEST, LEFT * anatomy.skin_fat)), 41)
    return fascia, np.maximum(skin, fascia + THINNEST)


def _rearmost(frame: SpineFrame, thickness: FloatArray) -> FloatArray:
    """The y, per height, at which tissue of this thickness (mm, at the places of `MUSCLE`) behind the walls ends."""
    low, tilt = frame.lumbar_disc_s[-1], frame.curve_tilt
    depth = np.interp(frame.curve_s, (low - 60, low, 0, 120), thickness)
    y = frame.curve_yz[:, 0] + depth * np.cos(tilt)
    z = frame.curve_yz[:, 1] + depth * np.sin(tilt)
    near = np.abs(HEIGHTS[:, None] - z) < REACH
    found = near.any(axis=1)
    rearmost = np.where(near, y, -np.inf).max(axis=1)
    table: FloatArray = np.interp(HEIGHTS, HEIGHTS[found], rearmost[found])
    return table


def _smooth(table: FloatArray, window: int) -> FloatArray:
    """The table smoothed over a window (odd, mm)."""
    weights = np.hanning(window + 2)[1:-1]
    smooth: FloatArray = np.convolve(np.pad(table, window // 2, mode="edge"), weights / weights.sum(), mode="valid")
    return smooth
