"""Sizes and places of one spine that several parts need: discs, pedicles, foramina, ganglia, protrusions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import Float32Array
from lumbar_kernel.geometry import SIDE_SIGNS
from lumbar_kernel.phantom.anatomy import (
    ANTERIOR_FAT,
    CANAL_WIDTH,
    FIRST_DISC,
    FIRST_FUSED,
    FLAVUM_BASE,
    JOINT_ACROSS,
    JOINT_BEHIND,
    PEDICLE_HEIGHT,
    POSTERIOR_FAT,
    SAC_DEPTH,
    TAKE_OFF,
    Anatomy,
)
from lumbar_kernel.phantom.frame import SpineFrame
from lumbar_kernel.phantom.grid import profile

SACRAL_CANAL = np.array([1.0, 0.55, 0.35])
"""Depth of the canal behind S1 to S3 over that at L5/S1."""

ROOF = ANTERIOR_FAT + SAC_DEPTH + POSTERIOR_FAT + 1.1 * FLAVUM_BASE
"""Depth of the bony canal of the average patient; joints move back with a deeper one."""


@dataclass(frozen=True)
class Joint:
    """A facet joint seen from above: centre, direction of the joint line and of the superior process, (across, v)."""

    centre: tuple[float, float]
    tangent: tuple[float, float]
    normal: tuple[float, float]


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

    @property
    def first_fused(self) -> int:
        """Index of the uppermost vertebra that is one with the sacrum: S1, or S2 below a lumbarised one."""
        return FIRST_FUSED + (self.anatomy.transitional == "lumbarised")

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

    def pedicle_height(self, vertebra: int) -> float:
        """Height of a pedicle at its waist, mm."""
        return float(PEDICLE_HEIGHT[vertebra] * self.anatomy.body_height[vertebra] / 29)

    def level_profile(self, s: Float32Array, values: NDArray[np.float64]) -> Float32Array:
        """A number per lumbar level, carried along the spine: (n,) for s (n,)."""
        return profile(s, self.frame.lumbar_disc_s, values)

    def roof_depth(self, s: Float32Array) -> Float32Array:
        """Depth of the bony canal in the midline, (n,) mm for s (n,): the sacral canal is a slit."""
        sacral = profile(s, self.frame.body_s[FIRST_FUSED:], SACRAL_CANAL)
        return self.level_profile(s, self.anatomy.roof) * sacral

    def roof_at(self, s: float) -> float:
        """Depth of the bony canal in the midline at one place of the lumbar spine, mm, in double precision."""
        return float(np.interp(-s, -self.frame.lumbar_disc_s, self.anatomy.roof))

    def foramen_box(self, disc: int) -> tuple[float, float, float, float]:
        """Inner and outer distance from the midline, lower and upper end along the spine of a foramen."""
        across, upper = self.pedicle(disc)
        lower_across, lower = self.pedicle(disc + 1)
        top = upper - 0.5 * self.pedicle_height(disc)
        bottom = lower + 0.5 * self.pedicle_height(disc + 1)
        middle = 0.5 * (across + min(lower_across, across + 3))
        return middle - 7, middle + 7, bottom, top

    def traversing_root(self, disc: int, s: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array]:
        """The root that leaves the sac 6 mm above a lumbar disc for the foramen below, at each s.

        Returns:
            Fraction of its way that it has covered (0 to 1), distance from the midline, and v.
        """
        a, level = self.anatomy, self.lumbar(disc)
        top, bottom = self.root_ends(disc)
        inner = self.foramen_box(disc + 1)[0]
        start = float(TAKE_OFF[level] * a.sac_width[level])
        down = np.clip((top - s) / (top - bottom), 0, 1).astype(np.float32)
        out = start + (max(inner - 1, start + 3) - start) * down ** np.float32(1.6)
        return down, out, a.anterior_fat[level] + 3.4 - 1.4 * down

    def root_ends(self, disc: int) -> tuple[float, float]:
        """Where along the spine the traversing root of a disc leaves the sac, and where its foramen is reached."""
        return float(self.frame.disc_s[disc] + 6), self.foramen_box(disc + 1)[3] - 3

    def ganglion_centre(self, disc: int, side: int) -> tuple[float, float, float]:
        """Spine coordinates of the ganglion of the root that leaves through a foramen."""
        inner, outer, _, top = self.foramen_box(disc)
        radius = 0.5 * self.anatomy.ganglion[self.lumbar(disc)]
        back, up = self.anatomy.ganglion_shift[self.lumbar(disc), side]
        return (
            SIDE_SIGNS[side] * 0.5 * (inner + outer),
            1.6 + float(back),
            top - radius - 1.8 + float(np.clip(up, -2, 1)),
        )

    def joint(self, disc: int, side: int) -> Joint:
        """The facet joint of a disc and side, in distance from the midline and v."""
        a, level = self.anatomy, self.lumbar(disc)
        angle = np.radians(np.clip(a.joint_angle[level, side], 8, 72))
        wide = a.canal_width[disc] / CANAL_WIDTH[disc]
        behind = JOINT_BEHIND[level] + a.joint_shift[level, side] + 0.6 * (a.roof[level] - ROOF[level])
        tangent, normal = (np.sin(angle), np.cos(angle)), (np.cos(angle), -np.sin(angle))
        return Joint((float(JOINT_ACROSS[level] * wide), float(behind)), tangent, normal)

    def bulging(self, u: Float32Array, disc: int) -> Float32Array:
        """How far the disc as a whole reaches past the posterior wall at u, mm."""
        a, level = self.anatomy, self.lumbar(disc)
        # The side bulge takes over from 8 to 14 mm, the width of the subarticular zone.
        lateral = np.clip((np.abs(u) - 8) / 6, 0, 1)
        side = np.where(u > 0, a.side_bulge[level, 0], a.side_bulge[level, 1])
        reach: Float32Array = ((1 - lateral) * a.bulge[level] + lateral * side).astype(np.float32)
        return reach

    def edge(self, u: Float32Array, s: Float32Array, disc: int) -> Float32Array:
        """How far disc material reaches past the posterior wall at u and s (broadcast), mm."""
        a, level, middle = self.anatomy, self.lumbar(disc), self.frame.disc_s[disc]
        bulge = self.bulging(u, disc)
        # Bulging annulus overhangs the endplates, more so laterally, where spurs carry it.
        spread = 0.5 * a.disc_height[disc] + (0.45 + np.clip((np.abs(u) - 9) / 6, 0, 1)) * bulge
        whole = bulge * np.sqrt(np.clip(1 - ((s - middle) / spread) ** 2, 0, 1))
        size, place, half, shift, high = a.herniation[level]
        focal = size * np.exp(-0.5 * ((u - place) / half) ** 2)
        focal = focal * np.sqrt(np.clip(1 - ((s - middle - shift) / (high + 0.3 * abs(shift))) ** 2, 0, 1))
        # Added in quadrature: a herniation of a bulging disc reaches less far than the sum of both.
        reach: Float32Array = np.hypot(whole, focal).astype(np.float32)
        return reach

    def margin(self, disc: int) -> float:
        """Posterior disc margin (v) in the midline at the disc's middle."""
        zero = np.zeros(1, dtype=np.float32)
        return float(self.edge(zero, zero + np.float32(self.frame.disc_s[disc]), disc)[0])
