"""Paints bones, joints and discs of a spine on a grid."""

from __future__ import annotations

import numpy as np

from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.grid import ROUND, SIDE_SIGN, Grid, mirrored, profile, roof
from lumbar_kernel.phantom.spine import Spine


def arch(spine: Spine, grid: Grid, vertebra: int) -> None:
    """Laminae and spinous process, which hang towards the disc below, and the ligament between processes."""
    a, middle = spine.anatomy, float(spine.frame.body_s[vertebra])
    height = float(a.body_height[vertebra])
    depth = float(np.interp(-middle, -spine.frame.disc_s[3:8], a.roof))
    w = grid.window((-18, 18), (0, 62), (middle - 0.95 * height, middle + 0.3 * height))
    if w is None:
        return
    back = w.v - roof(w.u, depth)
    slant = w.s - (middle - 0.22 * height) + np.float32(0.25) * (w.v - depth)
    lamina = np.maximum(np.abs(back - 3.2) - 3.2, np.abs(slant) - 0.34 * height)
    lamina = np.maximum(lamina, np.abs(w.u) - 0.55 * a.canal_width[vertebra] - 1)
    reach = (20.0 if vertebra < 3 else 29.0) if vertebra < 8 else 9.0
    if vertebra == 7:
        reach = 20.0
    start = depth + 4
    along = np.maximum(np.abs(w.v - start - reach / 2) - reach / 2, np.abs(slant + 3) - 0.30 * height)
    process = np.maximum(along, np.abs(w.u) - 3.4)
    between = (np.abs(w.u) < 2.2) & (np.abs(w.v - start - 12) < 12)
    w.paint(between & (w.ids == 0), tissue.INTERSPINOUS)
    w.bone(np.minimum(lamina, process).astype(np.float32))


def column(spine: Spine, grid: Grid) -> None:
    """All vertebral bodies as one waisted column; discs are cut into it afterwards."""
    a, f = spine.anatomy, spine.frame
    w = grid.window((-28, 28), (-42, 1.5), (-1e3, 1e3))
    if w is None:
        return
    width, depth = profile(w.s, f.body_s, a.body_width), profile(w.s, f.body_s, a.body_depth)
    edges = np.stack([f.body_s + a.body_height / 2, f.body_s - a.body_height / 2], axis=1).ravel()
    waist = profile(w.s, f.body_s, a.body_height * 0)
    for middle, height in zip(f.body_s, a.body_height, strict=True):
        inside = np.abs(w.s - middle) < height / 2
        waist = np.where(inside, np.cos(np.pi * (w.s - middle) / height) ** 2, waist).astype(np.float32)
    width, depth_waist = width * (1 - 0.09 * waist), depth - 1.6 * waist
    round_u = (np.abs(w.u) / (width / 2)) ** np.float32(ROUND)
    round_v = (np.abs(w.v + depth / 2) / (depth_waist / 2)) ** np.float32(ROUND)
    radius = round_u + round_v
    w.paint((radius < 1) & (w.s > edges[-1]), tissue.CORTEX)
    w.paint((radius < 0.91) & (w.s > edges[-1]), tissue.MARROW)
    for vertebra in range(2, 9):
        middle = f.body_s[vertebra]
        vein = grid.window((-3.5, 3.5), (-11, 0), (middle - 3, middle + 3))
        if vein is not None:
            taper = 2.6 * np.clip(1 + vein.v / 11, 0, 1)
            vein.paint((np.abs(vein.s - middle) < taper) & (vein.v < -1.2), tissue.VEIN)


def disc_body(spine: Spine, grid: Grid, disc: int) -> None:
    """One disc between its endplates: annulus and nucleus, wedged open forwards."""
    a, middle = spine.anatomy, float(spine.frame.disc_s[disc])
    width, depth = spine.disc_size(disc)
    half = float(a.disc_height[disc]) / 2
    w = grid.window((-30, 30), (-42, 2), (middle - half - 8, middle + half + 8))
    if w is None:
        return
    overhang = 1.0 + 0.4 * a.bulge[spine.lumbar(disc)]
    radius = (np.abs(w.u) / (width / 2 + overhang)) ** np.float32(ROUND)
    radius = radius + (np.abs(w.v + depth / 2 + 0.5) / (depth / 2 + overhang * 0.5 + 0.5)) ** np.float32(ROUND)
    wedge = np.float32(np.tan(np.radians(a.disc_wedge[disc])) / 2)
    thick = half + wedge * (-w.v) + np.float32(min(1.8, 0.5 * half)) * np.clip(1 - radius, 0, 1)
    gap = np.abs(w.s - middle) - thick
    inside = radius < 1
    w.paint(inside & (gap < 0.9) & (w.ids != tissue.FAT), tissue.CORTEX)
    w.paint(inside & (gap < 0), tissue.ANNULUS + disc)
    core = (w.u / (0.33 * width)) ** 2 + ((w.v + 0.47 * depth) / (0.32 * depth)) ** 2
    w.paint(
        (core < 1) & (np.abs(w.s - middle) < (thick - 0.4) * np.sqrt(np.clip(1.05 - core, 0, 1))),
        tissue.NUCLEUS + disc,
    )


def pedicles(spine: Spine, grid: Grid, vertebra: int) -> None:
    """Pedicles, transverse processes and the pars that runs down from each pedicle."""
    a = spine.anatomy
    across, middle = spine.pedicle(vertebra)
    height = 14.3 * a.body_height[vertebra] / 29
    for side, sign in enumerate(SIDE_SIGN):
        w = grid.window(mirrored(side, across - 14, across + 30), (-14, 26), (middle - 24, middle + 12))
        if w is None:
            continue
        u = sign * w.u - np.float32(across)
        tube = np.hypot(u / a.pedicle_width[vertebra], (w.s - middle) / height) - np.float32(0.5)
        root = np.maximum(tube * min(height, a.pedicle_width[vertebra]), np.abs(w.v - 2) - 12)
        pars = np.maximum(np.abs(u + 0.5) - 4.5, np.abs(w.v - 13.5 - 0.12 * (middle - w.s)) - 3.6)
        pars = np.maximum(pars, np.abs(w.s - middle + 9) - 11)
        shape = np.minimum(root, pars)
        if 3 <= vertebra <= 7:
            arm = np.hypot((w.v - 9) / 3.5, (w.s - middle + 1) / 5.5) - 1
            shape = np.minimum(shape, np.maximum(arm * 3.5, np.abs(u - 12) - 16))
        w.bone(shape.astype(np.float32))


def facet(spine: Spine, grid: Grid, disc: int, side: int) -> None:
    """Both articular processes of one joint; wear grows the superior one inwards, forwards and upwards."""
    a, middle, level = spine.anatomy, float(spine.frame.disc_s[disc]), spine.lumbar(disc)
    growth = float(a.facet[level, side])
    inner, outer, bottom, top = spine.foramen_box(disc)
    centre = 0.5 * (inner + outer) + 1.5
    sign = SIDE_SIGN[side]
    tip = middle + 4.5 + 0.9 * growth
    w = grid.window(mirrored(side, centre - 17, centre + 11), (-2, 30), (bottom - 4, top + 6))
    if w is None:
        return
    u = sign * w.u
    cap = np.clip((w.s - tip + 5) / 5, 0, 1)
    radius = (5.0 + 0.25 * growth) * np.sqrt(np.clip(1 - cap * cap, 0.0, 1)) + 0.01
    front = 14.5 - 0.8 * growth
    superior = np.hypot((u - centre + 0.45 * growth) / 1.25, w.v - front) - radius
    superior = np.maximum(superior, w.s - tip)
    low = np.clip((middle - 9 - w.s) / 5, 0, 1)
    inferior = np.hypot((u - centre + 5.5) / 1.15, w.v - 21.0) - (5.4 + 0.2 * growth) * np.sqrt(1 - low * low)
    inferior = np.maximum(inferior, middle - 12 - w.s)
    capsule = np.minimum(superior, inferior) - np.float32(1.1 + 0.2 * growth)
    open_ = (w.ids == tissue.FAT) | (w.ids == tissue.GANGLION) | (w.ids == 0)
    w.paint(open_ & (capsule < 0) & (np.abs(w.s - middle) < 11), tissue.FLAVUM)
    line = np.abs((u - centre + 2.5) * 0.55 + (w.v - 17.6) * 0.83)
    joint = (np.minimum(superior, inferior) < -0.5) & (line < 0.8) & (np.abs(w.s - middle) < 8)
    shape = np.minimum(superior, inferior).astype(np.float32)
    w.bone(shape, rim=1.0 + 0.15 * growth)
    w.paint((shape < 0) & (line < 1.6) & (np.abs(w.s - middle) < 8), tissue.CORTEX)
    w.paint(joint & (line < 0.7), tissue.JOINT)
