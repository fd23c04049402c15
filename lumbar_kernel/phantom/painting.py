"""Paint the tissues of one spine on a grid, from which both images and labels are taken."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.phantom import bones, soft_tissue, tissue
from lumbar_kernel.phantom.anatomy import LUMBAR_DISCS, Anatomy
from lumbar_kernel.phantom.body import Body
from lumbar_kernel.phantom.frame import SpineFrame
from lumbar_kernel.phantom.grid import VoxelGrid
from lumbar_kernel.phantom.spine import Spine
from lumbar_kernel.phantom.texture import Texture

VOXEL = 0.55
"""Edge of a voxel of the painted spine, mm."""


def paint(spine: Spine, grid: VoxelGrid, *, roots: bool = True) -> None:
    """Paint all tissues of the spine in place; what remains OUTSIDE belongs to the body around the spine.

    The order matters: later parts cover earlier ones, and soft tissue only fills what bone and disc leave free.
    """
    soft_tissue.canal(spine, grid)
    for vertebra in range(11):
        bones.arch(spine, grid, vertebra)
    bones.column(spine, grid)
    for disc in range(10):
        bones.disc_body(spine, grid, disc)
    for disc in LUMBAR_DISCS:
        bones.endplates(spine, grid, disc)
    bones.sacrum(spine, grid)
    for vertebra in range(spine.first_fused):
        bones.pedicles(spine, grid, vertebra)
    for disc in range(1, 9):
        for side in range(2):
            soft_tissue.foramen(spine, grid, disc, side)
    for disc in LUMBAR_DISCS:
        soft_tissue.protruding_disc(spine, grid, disc)
    for disc in range(1, spine.first_fused):
        for side in range(2):
            bones.facet(spine, grid, disc, side)
            soft_tissue.flavum(spine, grid, disc, side)
    soft_tissue.epidural_veins(spine, grid)
    soft_tissue.sac(spine, grid, roots=roots)
    for disc in range(1, 9):
        for side in range(2):
            soft_tissue.ganglion(spine, grid, disc, side)


def paint_spine(spine: Spine) -> VoxelGrid:
    """The whole spine from T10 to S3 on a new grid."""
    body_s = spine.frame.body_s
    grid = VoxelGrid.empty((-48, 48), (-48, 60), (float(body_s[-1]) - 10, float(body_s[0]) + 12), VOXEL)
    paint(spine, grid)
    for axis in range(3):  # a shell of nothing, so that samples outside read OUTSIDE
        np.moveaxis(grid.ids, axis, 0)[[0, -1]] = tissue.OUTSIDE
    return grid


def paint_canal(spine: Spine) -> VoxelGrid:
    """Only what grades are measured on, voxel for voxel as in `paint_spine`, with CSF in the place of roots."""
    discs = spine.frame.lumbar_disc_s
    grid = VoxelGrid.empty((-38, 38), (-10, 31), (discs[-1] - 30, discs[0] + 26), VOXEL)
    paint(spine, grid, roots=False)
    return grid


@dataclass(frozen=True, eq=False)
class PaintedBody:
    """A painted spine in its body.

    Attributes:
        anatomy, frame, body, texture: what is painted.
        grid: the spine's tissues; the outermost voxels are OUTSIDE.
    """

    anatomy: Anatomy
    frame: SpineFrame
    body: Body
    texture: Texture
    grid: VoxelGrid

    @cached_property
    def outline(self) -> FloatArray:
        """Points on the edges of the painted spine, (n, 3) patient mm."""
        s = np.arange(self.grid.s[0], self.grid.s[-1], 12)
        return self.frame.to_patient(np.array([[u, v, k] for u in (-48, 48) for v in (-48, 60) for k in s]))
