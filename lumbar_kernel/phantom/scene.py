"""Paints the tissues of one spine on a grid; images and labels come from this same paint."""

from __future__ import annotations

import numpy as np

from lumbar_kernel.phantom import bones, soft, tissue
from lumbar_kernel.phantom.anatomy import FIRST_DISC
from lumbar_kernel.phantom.grid import Grid
from lumbar_kernel.phantom.spine import Spine

VOXEL = 0.55
"""Edge of a voxel of the painted spine, mm."""


def paint(spine: Spine, grid: Grid, *, roots: bool = True) -> None:
    """Paint all tissues of the spine in place; what is left OUTSIDE belongs to the background.

    The order matters: later parts cover earlier ones, and the soft parts only take what bone and disc leave free.
    """
    lumbar = range(FIRST_DISC, FIRST_DISC + 5)
    soft.canal(spine, grid)
    for vertebra in range(11):
        bones.arch(spine, grid, vertebra)
    bones.column(spine, grid)
    for disc in range(10):
        bones.disc_body(spine, grid, disc)
    for disc in lumbar:
        bones.endplates(spine, grid, disc)
    bones.sacrum(spine, grid)
    for vertebra in range(spine.first_fused):
        bones.pedicles(spine, grid, vertebra)
    for disc in range(1, 9):
        for side in range(2):
            soft.foramen(spine, grid, disc, side)
    for disc in lumbar:
        soft.protruding_disc(spine, grid, disc)
    for disc in range(1, spine.first_fused):
        for side in range(2):
            bones.facet(spine, grid, disc, side)
            soft.flavum(spine, grid, disc, side)
    soft.epidural_veins(spine, grid)
    soft.sac(spine, grid, roots=roots)
    for disc in range(1, 9):
        for side in range(2):
            soft.ganglion(spine, grid, disc, side)


def paint_spine(spine: Spine) -> Grid:
    """The whole spine from T10 to S3 on a new grid."""
    body_s = spine.frame.body_s
    grid = Grid.empty((-48, 48), (-48, 60), (float(body_s[-1]) - 10, float(body_s[0]) + 12), VOXEL)
    paint(spine, grid)
    for axis in range(3):  # a shell of nothing, so that samples outside read OUTSIDE
        np.moveaxis(grid.ids, axis, 0)[[0, -1]] = tissue.OUTSIDE
    return grid


def paint_canal(spine: Spine) -> Grid:
    """Only what grades are measured on, voxel for voxel as in `paint_spine`, with CSF in the place of roots."""
    discs = spine.frame.disc_s[FIRST_DISC : FIRST_DISC + 5]
    grid = Grid.empty((-38, 38), (-10, 31), (discs[-1] - 30, discs[0] + 26), VOXEL)
    paint(spine, grid, roots=False)
    return grid
