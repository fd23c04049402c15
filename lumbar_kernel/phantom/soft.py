"""Paints canal, foramina, ligaments, dural sac and nerves of a spine, and what narrows them."""

from __future__ import annotations

import numpy as np

from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.anatomy import FIRST_DISC
from lumbar_kernel.phantom.grid import Grid, Mask, Window, mirrored, profile, roof, wall
from lumbar_kernel.phantom.spine import Spine


def canal(spine: Spine, grid: Grid) -> None:
    """Fill the bony canal with epidural fat; everything inside it is painted over this."""
    w = grid.window((-20, 20), (-2, 26), (-1e3, 1e3))
    if w is None:
        return
    half = profile(w.s, spine.frame.body_s, 0.5 * spine.anatomy.canal_width)
    depth = spine.level_profile(w.s, spine.anatomy.roof)
    w.paint((np.abs(w.u) < half) & (w.v < roof(w.u, depth)), tissue.FAT)


def foramen(spine: Spine, grid: Grid, disc: int, side: int) -> None:
    """Fat, ganglion and a vein in the foramen of one side, in what the bones leave free."""
    inner, outer, bottom, top = spine.foramen_box(disc)
    w = grid.window(mirrored(side, inner - 5, outer + 3), (-8, 13), (bottom - 1, top + 1))
    if w is None:
        return
    narrow = np.interp(w.s, (bottom, top - 7, top), (9.0, 10.5, 9.5)).astype(np.float32)
    shape = (w.v < narrow) & (w.s < top) & (w.s > bottom)
    w.paint(shape & (w.ids < tissue.ANNULUS) & (w.ids != tissue.MARROW) & (w.v > -5), tissue.FAT)
    centre_u, centre_v, centre_s = spine.ganglion_centre(disc, side)
    radius = 0.5 * spine.anatomy.ganglion[spine.lumbar(disc)]
    shift = (np.abs(w.u) - abs(centre_u)) * np.float32(0.75)  # the root runs outwards and down
    ring = np.hypot(w.v - centre_v, (w.s - centre_s + shift) * np.float32(0.85)) - np.float32(radius)
    free = (w.ids == tissue.FAT) & (np.abs(w.u) > inner - 2)
    w.paint(free & (ring < 0), tissue.GANGLION)
    vein = np.hypot(w.v - 1.0, w.s - bottom - 6.5) < 1.3
    w.paint((w.ids == tissue.FAT) & vein & (np.abs(w.u) > inner), tissue.VESSEL)


def protruding_disc(spine: Spine, grid: Grid, disc: int) -> None:
    """Bulge, herniation and spurs past the posterior wall, over whatever soft tissue was there."""
    a, middle, level = spine.anatomy, float(spine.frame.disc_s[disc]), spine.lumbar(disc)
    width, depth = spine.disc_size(disc)
    _, outer, _, _ = spine.foramen_box(disc)
    half = float(a.disc_height[disc]) / 2
    w = grid.window((-outer - 3, outer + 3), (-10, 14), (middle - half - 12, middle + half + 12))
    if w is None:
        return
    reach = spine.protrusion(w.u, disc)
    surface = wall(w.u, width, depth)
    spread = half + np.float32(0.45) * reach + np.clip((np.abs(w.u) - 9) / 6, 0, 1) * reach * np.float32(1.0)
    beyond = np.abs(w.s - middle) / spread
    edge = surface + reach * np.sqrt(np.clip(1 - beyond * beyond, 0, 1))
    mask = (w.v < edge) & (w.v > surface - 1.5) & (w.ids != tissue.MARROW) & (w.ids < tissue.NUCLEUS)
    mask &= (w.v - surface > -0.2) | (np.abs(w.s - middle) < half)
    w.paint(mask, tissue.ANNULUS + disc)
    if a.herniation[level, 0] < 3.5 and level < 3:
        return
    ligament = (np.abs(w.v - edge - 0.3) < 0.35) & (np.abs(w.u) < 7) & (beyond < 1)
    w.paint(ligament & (w.ids == tissue.FAT), tissue.CORTEX)


def flavum(spine: Spine, grid: Grid, disc: int, side: int) -> None:
    """Ligamentum flavum of one side, thickest at the disc."""
    a, middle, level = spine.anatomy, float(spine.frame.disc_s[disc]), spine.lumbar(disc)
    w = grid.window(mirrored(side, 0, 15), (-1, 26), (middle - 13, middle + 11))
    if w is None:
        return
    taper = np.clip(1.25 * np.cos(np.pi * (w.s - middle + 1) / 24), 0, 1).astype(np.float32)
    depth = spine.level_profile(w.s, a.roof)
    thickness = a.flavum[level, side] * (0.8 + 0.07 * np.minimum(np.abs(w.u), 8)) * taper
    inner = roof(w.u, depth) - thickness.astype(np.float32)
    w.paint((w.v > inner) & (w.ids == tissue.FAT) & (np.abs(w.u) > 0.4), tissue.FLAVUM)


def sac(spine: Spine, grid: Grid) -> None:
    """The dural sac fills its nominal ellipse as far as discs, ligaments and joints leave room; roots lie in it."""
    a, f = spine.anatomy, spine.frame
    end = f.body_s[9]
    w = grid.window((-13, 13), (-1, 24), (end, 1e3))
    if w is None:
        return
    taper = np.sqrt(np.clip((w.s - end) / 30, 0, 1)).astype(np.float32)
    half_v = 0.5 * spine.level_profile(w.s, a.sac_depth) * taper
    half_u = 0.5 * spine.level_profile(w.s, a.sac_width) * taper
    front = spine.level_profile(w.s, a.anterior_fat)
    level_gap = np.min(np.abs(w.s[:, None] - f.disc_s[3:8]), axis=1)
    front = front + np.clip(level_gap / 12, 0, 1) * np.float32(0.9)
    shape = np.abs(w.u / (half_u + 0.01)) ** 2.3 + np.abs((w.v - front - half_v) / (half_v + 0.01)) ** 2.3
    keep = (shape < 1) & (w.ids == tissue.FAT)
    w.paint(keep, tissue.CSF)
    _roots(spine, w, keep)
    sleeves(spine, grid)


def sleeves(spine: Spine, grid: Grid) -> None:
    """The traversing roots: each leaves the sac at the disc and runs in the recess to the pedicle below."""
    a, f = spine.anatomy, spine.frame
    for disc in range(FIRST_DISC, FIRST_DISC + 5):
        level, top = disc - FIRST_DISC, f.disc_s[disc] + 5
        w = grid.window((-16, 16), (-3, 12), (top - 24, top))
        if w is None:
            continue
        down = np.clip((top - w.s) / 24, 0, 1).astype(np.float32)
        out = 0.45 * a.sac_width[level] + 0.4 + 3.2 * down
        circle = np.hypot(np.abs(w.u) - out, w.v - a.anterior_fat[level] - 3.2 + 1.0 * down)
        free = w.ids == tissue.FAT
        w.paint(free & (circle < 2.0), tissue.CSF)
        w.paint((free | (w.ids == tissue.CSF)) & (circle < 1.3), tissue.ROOT)


def _roots(spine: Spine, w: Window, sac: Mask) -> None:
    """Roots at fixed places of the sac's own shape, so they crowd where it is narrow; fewer at each level down."""
    a, f = spine.anatomy, spine.frame
    tip = float(np.interp(a.conus, np.arange(10), f.disc_s))
    u, v = w.u[:, 0, 0], w.v[0, :, 0]
    size = sac.sum(axis=(0, 1)).clip(1)
    mean_u = (sac.sum(axis=1) * u[:, None]).sum(axis=0) / size
    mean_v = (sac.sum(axis=0) * v[:, None]).sum(axis=0) / size
    spread_u = 2 * np.sqrt((sac.sum(axis=1) * (u[:, None] - mean_u) ** 2).sum(axis=0) / size)
    spread_v = 2 * np.sqrt((sac.sum(axis=0) * (v[:, None] - mean_v) ** 2).sum(axis=0) / size)
    area = spine.level_profile(w.s, a.root_area)
    each = np.pi * np.mean(a.roots[:, 2] ** 2)
    number = np.minimum(area / each, len(a.roots))
    step = float(u[1] - u[0]) if len(u) > 1 else 1.0
    reach = int(np.ceil(1.2 / step))
    index = np.arange(len(w.s))
    for rank, (across, back, radius) in enumerate(a.roots):
        wave = 0.07 * np.sin(w.s / 19.0 + 2.4 * rank)
        centre_u = mean_u + (across + wave) * spread_u
        centre_v = mean_v + (back + wave) * spread_v
        row, column = np.rint((centre_u - u[0]) / step).astype(int), np.rint((centre_v - v[0]) / step).astype(int)
        alive = (rank < number) & (w.s < tip + 6)
        for i in range(-reach, reach + 1):
            for j in range(-reach, reach + 1):
                r, c = np.clip(row + i, 0, len(u) - 1), np.clip(column + j, 0, len(v) - 1)
                near = (u[r] - centre_u) ** 2 + (v[c] - centre_v) ** 2 < radius**2
                near &= alive & (w.ids[r, c, index] == tissue.CSF)
                w.ids[r[near], c[near], index[near]] = tissue.ROOT
    grow = np.clip((w.s - tip) / 28, 0, 1) ** 0.5
    cord = np.hypot((w.u - mean_u) / 4.4, (w.v - mean_v - 0.5) / 3.7) < grow
    w.paint(cord & (w.ids == tissue.CSF), tissue.CORD)
