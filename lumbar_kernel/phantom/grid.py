"""Blocks of voxels in spine coordinates, windows into them, and the two surfaces that everything is measured from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import Float32Array
from lumbar_kernel.phantom import tissue

Ids = NDArray[np.uint8]
Mask = NDArray[np.bool_]

ROUND = 3.2
"""Exponent of the superellipse that a body looks like from above."""


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """Axes of a block in spine coordinates and the tissue of every voxel.

    Attributes:
        u, v, s: float32 coordinates of the voxels, mm, evenly spaced and rising.
        ids: (u, v, s) uint8 tissues, painted in place.
    """

    u: Float32Array
    v: Float32Array
    s: Float32Array
    ids: Ids

    @classmethod
    def empty(cls, u: tuple[float, float], v: tuple[float, float], s: tuple[float, float], step: float) -> VoxelGrid:
        """An empty grid over three ranges, with voxels of `step` mm on a lattice that is the same for all ranges."""
        across, back, up = (
            (np.arange(np.floor(low / step), np.ceil(high / step)) * step).astype(np.float32) for low, high in (u, v, s)
        )
        return cls(across, back, up, np.zeros((len(across), len(back), len(up)), dtype=np.uint8))

    def window(self, u: tuple[float, float], v: tuple[float, float], s: tuple[float, float]) -> Window | None:
        """The part of the grid inside three ranges, None when they miss it."""
        parts = []
        for axis, (low, high) in ((self.u, u), (self.v, v), (self.s, s)):
            start, stop = np.searchsorted(axis, (low, high))
            if start >= stop:
                return None
            parts.append(slice(int(start), int(stop)))
        iu, iv, is_ = parts
        return Window(self.u[iu][:, None, None], self.v[iv][None, :, None], self.s[is_], self.ids[iu, iv, is_])


@dataclass(frozen=True, eq=False)
class Window:
    """A view into a grid with axes that broadcast: u (n, 1, 1), v (1, n, 1), s (n,)."""

    u: Float32Array
    v: Float32Array
    s: Float32Array
    ids: Ids

    def paint(self, mask: Mask, value: int) -> None:
        """Set the tissue where the mask (broadcast) holds."""
        np.copyto(self.ids, np.uint8(value), where=mask)

    def bone(self, distance: Float32Array, *, rim: float = 0.55) -> None:
        """Paint marrow with a dark rim where a distance in mm is negative."""
        self.paint(distance < 0, tissue.CORTEX)
        self.paint(distance < -rim, tissue.MARROW)


def profile(s: Float32Array, knots: NDArray[np.float64], values: NDArray[np.float64]) -> Float32Array:
    """Values at falling knots carried to every s, linearly: (n,) float32."""
    return np.interp(s, knots[::-1], values[::-1]).astype(np.float32)


def mirrored(side: int, inner: float, outer: float) -> tuple[float, float]:
    """The range of u between two distances from the midline on one side, ascending."""
    return (inner, outer) if side == 0 else (-outer, -inner)


def roof(u: Float32Array, depth: Float32Array | float) -> Float32Array:
    """Inner surface (v) of laminae and facets at u, for a midline depth of the bony canal."""
    side = np.abs(u)
    inner = depth - np.float32(0.35) * side - np.float32(0.018) * side * side
    return inner.astype(np.float32)


def wall(u: Float32Array, width: float, depth: float) -> Float32Array:
    """Posterior wall (v) of a body or disc at u: zero near the midline, receding sideways."""
    share = np.minimum(np.abs(u) / np.float32(width / 2), 1) ** np.float32(ROUND)
    behind: Float32Array = np.float32(depth / 2) * ((1 - share) ** np.float32(1 / ROUND) - 1)
    return behind
