"""Sizes and places of one spine that several parts need: discs, pedicles, foramina, ganglia, protrusions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.phantom.anatomy import FIRST_DISC, Anatomy
from lumbar_kernel.phantom.frame import SpineFrame
from lumbar_kernel.phantom.grid import SIDE_SIGN, profile

Float32Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Spine:
    """One anatomy in its frame.

    Attributes:
        anatomy: the numbers of the patient.
        frame: where they lie.
    """

    anatomy: Anatomy
    frame: SpineFrame

    def lumbar(self, disc: int) -> int:
        """Index of the lumbar level whose numbers a disc uses; discs beyond the five take the nearest level's."""
        return int(np.clip(disc - FIRST_DISC, 0, 4))

    def disc_size(self, disc: int) -> tuple[float, float]:
        """Width and depth of a disc, means of its two bodies."""
        a = self.anatomy
        width, depth = (0.5 * (x[disc] + x[disc + 1]) for x in (a.body_width, a.body_depth))
        return float(width), float(depth)

    def pedicle(self, vertebra: int) -> tuple[float, float]:
        """Distance of the pedicle's middle from the midline and its middle along the spine."""
        a = self.anatomy
        across = 0.5 * a.canal_width[vertebra] + 0.5 * a.pedicle_width[vertebra]
        return float(across), float(self.frame.body_s[vertebra] + 0.19 * a.body_height[vertebra])

    def level_profile(self, s: Float32Array, values: NDArray[np.float64]) -> Float32Array:
        """A number per lumbar level, carried along the spine: (n,) for s (n,)."""
        return profile(s, self.frame.disc_s[FIRST_DISC : FIRST_DISC + 5], values)

    def foramen_box(self, disc: int) -> tuple[float, float, float, float]:
        """Inner and outer distance from the midline, lower and upper end along the spine of a foramen."""
        across, upper = self.pedicle(disc)
        lower_across, lower = self.pedicle(disc + 1)
        a = self.anatomy
        top = upper - 7.1 * a.body_height[disc] / 29
        bottom = lower + 7.1 * a.body_height[disc + 1] / 29
        middle = 0.5 * (across + min(lower_across, across + 3))
        return middle - 7, middle + 7, bottom, top

    def ganglion_centre(self, disc: int, side: int) -> tuple[float, float, float]:
        """Spine coordinates of the ganglion of the root that leaves through a foramen."""
        inner, outer, _, top = self.foramen_box(disc)
        radius = 0.5 * self.anatomy.ganglion[self.lumbar(disc)]
        return SIDE_SIGN[side] * 0.5 * (inner + outer), 3.6, top - radius - 2.6

    def protrusion(self, u: Float32Array, disc: int) -> Float32Array:
        """How far the disc reaches past the posterior wall at u, mm."""
        a, level = self.anatomy, self.lumbar(disc)
        lateral = np.clip((np.abs(u) - 8) / 6, 0, 1)
        side = np.where(u > 0, a.side_bulge[level, 0], a.side_bulge[level, 1])
        size, place, half = a.herniation[level]
        focal = size * np.exp(-0.5 * ((u - place) / half) ** 2)
        reach: Float32Array = (np.hypot((1 - lateral) * a.bulge[level] + lateral * side, focal)).astype(np.float32)
        return reach
