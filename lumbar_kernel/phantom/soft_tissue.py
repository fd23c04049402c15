"""Paints canal, foramina, ligaments, dural sac and nerves of a spine, and what narrows them."""

from __future__ import annotations

import cv2
import numpy as np

from lumbar_kernel.arrays import Float32Array
from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.anatomy import FORAMEN_BACK, FORAMEN_TAPER, LUMBAR_DISCS
from lumbar_kernel.phantom.grid import Mask, VoxelGrid, Window, mirrored, profile, roof, wall
from lumbar_kernel.phantom.spine import Spine

DURA_GAP = 0.4
"""mm that the sac keeps from what presses on it."""


def canal(spine: Spine, grid: VoxelGrid) -> None:
    """Fill the bony canal with epidural fat; everything inside it is painted over this."""
    w = grid.window((-20, 20), (-2, 30), (-1e3, 1e3))
    if w is None:
        return
    half = profile(w.s, spine.frame.body_s, 0.5 * spine.anatomy.canal_width)
    depth = spine.roof_depth(w.s)
    w.paint((np.abs(w.u) < half) & (w.v < roof(w.u, depth)), tissue.FAT)


def foramen(spine: Spine, grid: VoxelGrid, disc: int, side: int) -> None:
    """Fat between two pedicles, in what the bones leave free."""
    inner, outer, bottom, top = spine.foramen_box(disc)
    w = grid.window(mirrored(side, inner - 5, outer + 4), (-9, 16), (bottom - 2, top + 2))
    if w is None:
        return
    # A foramen is a keyhole: open above, behind the root, and narrow below, where the joint reaches the disc. Beyond
    # its outer end fat gives way to the psoas, so front and back meet there.
    far = np.clip((np.abs(w.u) - outer + 2) / 6, 0, 1)
    level = spine.lumbar(disc)
    back = np.float32(FORAMEN_BACK[level] + 0.6 * spine.anatomy.joint_shift[level, side])
    back = back * (1 - FORAMEN_TAPER[level] * np.clip((top - 6 - w.s) / (top - 8 - bottom), 0, 1).astype(np.float32))
    back = back * np.sqrt(np.clip((top + 2 - w.s) / 5, 0, 1)).astype(np.float32)
    w.paint((w.ids == 0) & (w.v < back + (2 - back) * far) & (w.v > -4 + 3 * far), tissue.FAT)


def protruding_disc(spine: Spine, grid: VoxelGrid, disc: int) -> None:
    """Bulge, herniation and spurs past the posterior wall, painted over the soft tissue there."""
    a, middle, level = spine.anatomy, float(spine.frame.disc_s[disc]), spine.lumbar(disc)
    width, depth = spine.disc_size(disc)
    _, outer, _, _ = spine.foramen_box(disc)
    half = float(a.disc_height[disc]) / 2
    w = grid.window((-outer - 3, outer + 3), (-10, 15), (middle - half - 20, middle + half + 20))
    if w is None:
        return
    reach = spine.edge(w.u, w.s, disc)
    surface = wall(w.u, width, depth)
    behind = w.v - surface
    mask = (
        (np.abs(w.u) < width / 2 + 2)
        & (behind < reach)
        & (behind > -1.5)
        & (w.ids != tissue.MARROW)
        & (w.ids < tissue.NUCLEUS)
    )
    # Above and below the disc, material that has migrated lies behind the bodies and never in them.
    mask &= (behind > -0.2) | (np.abs(w.s - middle) < half)
    w.paint(mask, tissue.ANNULUS + disc)
    if a.herniation[level, 0] < 3.5 and level < 3:
        return
    # The posterior longitudinal ligament is lifted off by the disc and then visible as a dark line.
    ligament = (np.abs(behind - reach - 0.3) < 0.35) & (np.abs(w.u) < 7) & (reach > 0.5)
    w.paint(ligament & (w.ids == tissue.FAT), tissue.LIGAMENT)


def flavum(spine: Spine, grid: VoxelGrid, disc: int, side: int) -> None:
    """Ligamentum flavum of one side, thickest at the disc; it reaches the joint and follows it outwards."""
    a, middle, level = spine.anatomy, float(spine.frame.disc_s[disc]), spine.lumbar(disc)
    w = grid.window(mirrored(side, 0, 16), (-1, 30), (middle - 14, middle + 12))
    if w is None or a.laminectomy[disc]:
        return
    # It spans from lamina to lamina, 25 mm, thickest a millimetre below the disc.
    taper = np.clip(1.25 * np.cos(np.pi * (w.s - middle + 1) / 25), 0, 1).astype(np.float32)
    depth = spine.level_profile(w.s, a.roof)
    thickness = a.flavum[level, side] * (0.8 + 0.05 * np.minimum(np.abs(w.u), 10)) * taper
    inner = roof(w.u, depth) - thickness.astype(np.float32)
    w.paint((w.v > inner) & (w.ids == tissue.FAT) & (np.abs(w.u) > 0.4), tissue.FLAVUM)


def _free_span(w: Window, seed: Float32Array) -> tuple[Float32Array, Float32Array]:
    """First and last free v of the stretch of fat that holds `seed` (s,) in every column: two (u, s) float32."""
    v, step = w.v[0, :, 0], float(w.v[0, 1, 0] - w.v[0, 0, 0])
    blocked = w.ids != tissue.FAT
    # The last obstacle in front and the first behind: argmax finds the first True, hence the reversed axis.
    before = blocked & (w.v <= seed)
    after = blocked & (w.v > seed)
    count = len(v)
    front = v[count - 1 - np.argmax(before[:, ::-1], axis=1)] + np.float32(0.5 * step)
    back = v[np.argmax(after, axis=1)] - np.float32(0.5 * step)
    front = np.where(before.any(axis=1), front, v[0])
    back = np.where(after.any(axis=1), back, v[-1])
    return front.astype(np.float32), back.astype(np.float32)


def _tense(front: Float32Array, *, sign: float) -> Float32Array:
    """A wall as the dura feels it: what juts out counts, what recedes over a short way is bridged."""
    smooth: Float32Array = cv2.GaussianBlur(front, (0, 0), 2.0)
    return np.maximum(front, smooth) if sign > 0 else np.minimum(front, smooth)


def sac(spine: Spine, grid: VoxelGrid, *, roots: bool) -> None:
    """The dural sac: its nominal ellipse, smoothly clipped by discs, ligaments and joints; roots and cord in it."""
    a, f = spine.anatomy, spine.frame
    end = f.body_s[9]
    w = grid.window((-14, 14), (-3, 28), (end, 1e3))
    if w is None:
        return
    # The sac ends at S2 like a fingertip: half an ellipse over the last 30 mm.
    taper = np.sqrt(np.clip((w.s - end) / 30, 0, 1)).astype(np.float32)
    half_v = 0.5 * spine.level_profile(w.s, a.sac_depth) * taper
    half_u = 0.5 * spine.level_profile(w.s, a.sac_width) * taper
    gap = np.min(np.abs(w.s[:, None] - f.lumbar_disc_s), axis=1)
    ahead = spine.level_profile(w.s, a.anterior_fat) + np.clip(gap / 12, 0, 1) * np.float32(0.9)
    # Without laminae nothing holds the sac in front: it widens backwards.
    operated = np.interp(w.s, f.body_s[::-1], 4.0 * a.laminectomy[::-1]).astype(np.float32)
    middle = ahead + half_v + 0.5 * operated
    half_v = half_v + 0.5 * operated
    # An exponent slightly above two: sacs are a little squarer than ellipses, because dura lies against flat walls.
    shape = (np.abs(w.u / (half_u + 0.01)) ** 2.15 + np.abs((w.v - middle) / (half_v + 0.01)) ** 2.15) ** np.float32(
        1 / 2.15
    )
    nominal = (shape - 1) * np.minimum(half_u, half_v)
    front, back = _free_span(w, middle)
    front, back = _tense(front, sign=1.0)[:, None, :], _tense(back, sign=-1.0)[:, None, :]
    clipped = np.maximum(front + DURA_GAP - w.v, w.v - back + DURA_GAP)
    # A smooth maximum over 1.6 mm instead of a sharp one, because dura has no corners.
    blend = np.clip(1.6 - np.abs(nominal - clipped), 0, None)
    inside = np.maximum(nominal, clipped) + blend * blend / 6.4 < 0
    keep = inside & (w.ids == tissue.FAT)
    w.paint(keep, tissue.CSF)
    if roots:
        _roots(spine, w, keep)
    sleeves(spine, grid)


def sleeves(spine: Spine, grid: VoxelGrid) -> None:
    """The traversing roots: each leaves the sac above the disc and runs in the recess to the foramen below."""
    for disc in LUMBAR_DISCS:
        top, bottom = spine.root_ends(disc)
        w = grid.window((-20, 20), (-3, 14), (bottom, top))
        if w is None:
            continue
        down, out, place = spine.traversing_root(disc, w.s)
        circle = np.hypot(np.abs(w.u) - out, w.v - place)
        free = w.ids == tissue.FAT
        w.paint(free & (circle < 2.1) & (down < 0.45), tissue.CSF)
        w.paint((free | (w.ids == tissue.CSF)) & (circle < 1.45), tissue.ROOT)


def ganglion(spine: Spine, grid: VoxelGrid, disc: int, side: int) -> None:
    """The root that leaves through a foramen with its ganglion: it gives way first and is flattened then."""
    inner, outer, bottom, top = spine.foramen_box(disc)
    w = grid.window(mirrored(side, inner - 1, outer + 3), (-9, 15), (bottom - 6, top + 3))
    if w is None:
        return
    across, v, s = spine.ganglion_centre(disc, side)
    radius = 0.5 * float(spine.anatomy.ganglion[spine.lumbar(disc)])
    # The tube is followed along its slant; its middle is then pulled to the middle of the fat that is left, twice,
    # because a root gives way before it is flattened.
    slant = (np.abs(w.u) - abs(across)) * np.float32(0.75)
    free = w.ids == tissue.FAT
    here = np.abs(np.abs(w.u[:, 0, 0]) - abs(across)) < 2
    room = free[here]
    for _ in range(2):
        near = room & (np.hypot(w.v - v, w.s - s + slant[here]) < radius + 1.6)
        count = near.sum()
        if count > 30:
            v += 0.7 * float((near.sum(axis=(0, 2)) * w.v[0, :, 0].astype(float)).sum() / count - v)
            s += 0.7 * float((near * (w.s + slant[here])).sum(dtype=float) / count - s)
    swell = radius * (0.62 + 0.38 * np.exp(-(((np.abs(w.u) - abs(across)) / 5.0) ** 2)))
    tube = np.hypot(w.v - v, (w.s - s + slant) * np.float32(0.88)) - swell
    w.paint(free & (tube < 0), tissue.GANGLION)
    vein = np.hypot(w.v - 1.0, w.s - bottom - 6.5) < 1.1
    w.paint((w.ids == tissue.FAT) & vein & (np.abs(w.u) > inner) & (np.abs(w.u) < inner + 6), tissue.VESSEL)


def _crowd(w: Window, sac: Mask, share: Float32Array) -> None:
    """Turn CSF between the roots grey where they fill the sac: `share` (s,) is the root fraction of the area."""
    # Sums of sines have no period that an image could show as a grid; the threshold fills a growing share of them.
    lattice = np.sin(2.9 * w.u + 0.7 * np.sin(1.9 * w.v)) * np.sin(2.7 * w.v + 0.9 * np.sin(2.1 * w.u) + 0.12 * w.s)
    filled = 2.6 * np.clip((share - 0.38) / 0.28, 0, 1) - 1.3
    w.paint(sac & (lattice < filled) & (w.ids == tissue.CSF), tissue.ROOT)


def _roots(spine: Spine, w: Window, sac: Mask) -> None:
    """Roots at fixed places relative to the sac's shape, crowded where it is narrow; fewer at each lower level."""
    a, f = spine.anatomy, spine.frame
    tip = float(np.interp(a.conus, np.arange(10), f.disc_s))
    u, v = w.u[:, 0, 0], w.v[0, :, 0]
    step = float(u[1] - u[0])
    count = sac.sum(axis=(0, 1))
    size = count.clip(1)
    mean_u = (sac.sum(axis=1) * u[:, None]).sum(axis=0) / size
    mean_v = (sac.sum(axis=0) * v[:, None]).sum(axis=0) / size
    # Twice the standard deviation is the half axis of a filled ellipse, so that roots scale with the sac at each s.
    spread_u = 2 * np.sqrt((sac.sum(axis=1) * (u[:, None] - mean_u) ** 2).sum(axis=0) / size)
    spread_v = 2 * np.sqrt((sac.sum(axis=0) * (v[:, None] - mean_v) ** 2).sum(axis=0) / size)
    area = spine.level_profile(w.s, a.root_area)
    share = area / np.maximum(count * step * step, 1.0)
    # Redundant roots wave above and below a stenosis: the Hann window spreads it by 17 mm to both sides.
    tight = np.convolve(np.clip(share / 0.45 - 0.8, 0, 1), np.hanning(61) / 30, mode="same").clip(0, 1)
    waves = 0.02 + tight * a.redundancy
    alive = np.minimum(area / (np.pi * np.mean(a.roots[:, 2] ** 2)), len(a.roots))
    reach = int(np.ceil(1.1 / step))
    index = np.arange(len(w.s))
    below = w.s < tip + 6
    for rank, (across, back, radius) in enumerate(a.roots):
        swing = waves * np.sin(w.s / (19.0 - 15 * np.minimum(a.redundancy, 0.5)) + 2.4 * rank)
        centre_u, centre_v = mean_u + (across + swing) * spread_u, mean_v + (back + 0.5 * swing) * spread_v
        row, column = np.rint((centre_u - u[0]) / step).astype(int), np.rint((centre_v - v[0]) / step).astype(int)
        there = (rank < alive) & below
        for i in range(-reach, reach + 1):
            for j in range(-reach, reach + 1):
                r, c = np.clip(row + i, 0, len(u) - 1), np.clip(column + j, 0, len(v) - 1)
                near = (u[r] - centre_u) ** 2 + (v[c] - centre_v) ** 2 < radius**2
                near &= there & (w.ids[r, c, index] == tissue.CSF)
                w.ids[r[near], c[near], index[near]] = tissue.ROOT
    _crowd(w, sac, np.where(below, share, 0).astype(np.float32))
    # The conus: full width 28 mm above its tip.
    grow = np.clip((w.s - tip) / 28, 0, 1) ** 0.5
    cord = np.hypot((w.u - mean_u) / 4.4, (w.v - mean_v - 0.5) / 3.7) < grow
    w.paint(cord & (w.ids == tissue.CSF), tissue.CORD)


def epidural_veins(spine: Spine, grid: VoxelGrid) -> None:
    """The veins on the back of each body, on both sides of the midline."""
    for vertebra in range(3, 9):
        middle = spine.frame.body_s[vertebra]
        for side in range(2):
            w = grid.window(mirrored(side, 3, 9), (-2, 6), (middle - 9, middle + 9))
            if w is not None:
                ring = np.hypot(np.abs(w.u) - 5.5 + 0.02 * (w.s - middle) ** 2, w.v - 0.8)
                w.paint((ring < 0.9) & (w.ids == tissue.FAT), tissue.VEIN)
