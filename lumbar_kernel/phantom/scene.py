"""Paints the tissues of one spine on a grid; images and labels come from this same paint."""

from __future__ import annotations

from lumbar_kernel.phantom import bones, soft
from lumbar_kernel.phantom.anatomy import FIRST_DISC
from lumbar_kernel.phantom.grid import Grid
from lumbar_kernel.phantom.spine import Spine


def paint(spine: Spine, grid: Grid) -> None:
    """Paint all tissues of the spine in place; what is left OUTSIDE belongs to the background.

    The order matters: later parts cover earlier ones, and the soft parts only take what bone and disc leave free.
    """
    soft.canal(spine, grid)
    for vertebra in range(11):
        bones.arch(spine, grid, vertebra)
    bones.column(spine, grid)
    for disc in range(10):
        bones.disc_body(spine, grid, disc)
    for vertebra in range(10):
        bones.pedicles(spine, grid, vertebra)
    for disc in range(1, 9):
        for side in range(2):
            soft.foramen(spine, grid, disc, side)
    for disc in range(FIRST_DISC, FIRST_DISC + 5):
        soft.protruding_disc(spine, grid, disc)
    for disc in range(1, 9):
        for side in range(2):
            bones.facet(spine, grid, disc, side)
            soft.flavum(spine, grid, disc, side)
    soft.sac(spine, grid)
