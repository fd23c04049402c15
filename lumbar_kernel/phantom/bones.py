"""Paints bones, joints and discs of a spine on a grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import Float32Array
from lumbar_kernel.geometry import SIDE_SIGNS
from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.anatomy import FIRST_FUSED, LUMBAR_DISCS
from lumbar_kernel.phantom.grid import ROUND, VoxelGrid, Window, mirrored, profile, roof
from lumbar_kernel.phantom.spine import Spine

SAG = (0.2, 0.12)
"""How far the plates above and below a disc arch away from it, over half its height."""


FUSED = {
    first: np.isin(
        np.arange(tissue.N_IDS),
        [tissue.CORTEX, tissue.MARROW]
        + [part + disc for part in (tissue.ANNULUS, tissue.INNER, tissue.NUCLEUS) for disc in range(first, 10)],
    )
    for first in (FIRST_FUSED, FIRST_FUSED + 1)
}
"""By the uppermost vertebra of the sacrum: whether a tissue of its bodies and discs is hidden beside them."""


def _rounded(*shares: NDArray[Any], size: float) -> Float32Array:
    """Rough distance in mm to a rounded box, negative inside; `shares` are coordinates divided by half sizes."""
    total = np.zeros(1, dtype=np.float32)
    for share in shares:
        total = total + np.abs(share * share * share)
    distance: Float32Array = (np.cbrt(total) - 1) * np.float32(size)
    return distance


def arch(spine: Spine, grid: VoxelGrid, vertebra: int) -> None:
    """Laminae and spinous process, which hang towards the disc below, and the ligament between processes."""
    a, middle = spine.anatomy, float(spine.frame.body_s[vertebra])
    height = float(a.body_height[vertebra])
    w = grid.window((-18, 18), (0, 62), (middle - 0.95 * height, middle + 0.4 * height))
    if w is None:
        return
    if vertebra >= spine.first_fused:
        _dorsal_plate(spine, w, 0.55 * float(a.canal_width[vertebra]) + 1)
        return
    depth = spine.roof_at(middle)
    back = w.v - roof(w.u, depth)
    slant = w.s - (middle - 0.2 * height) + np.float32(0.25) * (w.v - depth)
    if a.laminectomy[vertebra]:
        w.paint((np.abs(w.u) < 9) & (back > 0) & (back < 18) & (np.abs(slant) < 0.5 * height), tissue.SCAR)
        return
    lamina = _rounded((back - 3.2) / 3.2, slant / (0.36 * height), size=3.2)
    lamina = np.maximum(lamina, np.abs(w.u) - 0.55 * a.canal_width[vertebra] - 1)
    reach, start = float(a.process[vertebra]), depth + 2
    if reach:
        length, low = 0.5 * (reach + 4), (0.30 + 0.12 * np.clip((w.v - start) / 15, 0, 1)) * np.float32(height)
        wide = 2.6 + 0.05 * np.clip(w.v - start, 0, None)
        process = _rounded((w.v - start - length) / length, (slant + 4) / low, w.u / wide, size=3.0)
        between = (np.abs(w.u) < 2.2) & (np.abs(w.v - start - 12) < 12)
        w.paint(between & (w.ids == 0), tissue.INTERSPINOUS)
        lamina = np.minimum(lamina, process)
    w.bone(lamina.astype(np.float32))


def _dorsal_plate(spine: Spine, w: Window, reach: float) -> None:
    """The fused laminae and spinous processes of the sacrum: a thin roof with a low crest."""
    crest = spine.anatomy.crest * np.exp(-((w.u / 2.5) ** 2)) * (0.6 + 0.4 * np.cos(0.25 * w.s))
    behind = w.v - roof(w.u, spine.roof_depth(w.s))
    plate = np.maximum(np.abs(behind - 1.8 - 0.5 * crest) - 1.8 - 0.5 * crest, np.abs(w.u) - reach)
    w.bone(plate.astype(np.float32))


def column(spine: Spine, grid: VoxelGrid) -> None:
    """All vertebral bodies as one waisted column; discs are painted into it afterwards."""
    a, f = spine.anatomy, spine.frame
    w = grid.window((-32, 32), (-46, 1.5), (-1e3, 1e3))
    if w is None:
        return
    width, depth = profile(w.s, f.body_s, a.body_width), profile(w.s, f.body_s, a.body_depth)
    bottom = f.body_s[-1] - a.body_height[-1] / 2
    waist = np.zeros_like(w.s)
    for middle, height in zip(f.body_s, a.body_height, strict=True):
        inside = np.abs(w.s - middle) < height / 2
        waist = np.where(inside, np.cos(np.pi * (w.s - middle) / height) ** 2, waist).astype(np.float32)
    spur = np.zeros_like(w.s)
    for middle, size in zip(f.disc_s, a.osteophyte, strict=True):
        spur = spur + np.float32(size) * np.exp(-(((w.s - middle) / 5) ** 2))
    width, ahead = width * (1 - 0.09 * waist) + 0.8 * spur, depth - 3.0 * waist + spur
    half = 0.5 * ahead
    radius = (np.abs(w.u) / (width / 2)) ** np.float32(ROUND)
    radius = radius + (np.abs(w.v + half + 0.9 * waist) / half) ** np.float32(ROUND)
    w.paint((radius < 1) & (w.s > bottom), tissue.CORTEX)
    w.paint((radius < 0.89) & (w.s > bottom), tissue.MARROW)
    for vertebra in range(2, 9):
        middle = f.body_s[vertebra]
        vein = grid.window((-3.0, 3.0), (-12, 0), (middle - 3, middle + 3))
        if vein is not None:
            taper = 1.7 * np.clip(1 + vein.v / 12, 0, 1)
            vein.paint((np.abs(vein.s - middle) < taper) & (vein.v < -1.0), tissue.VEIN)


def disc_body(spine: Spine, grid: VoxelGrid, disc: int) -> None:
    """One disc between its endplates: annulus and nucleus, wedged open forwards."""
    a, middle = spine.anatomy, float(spine.frame.disc_s[disc])
    width, depth = spine.disc_size(disc)
    half = float(a.disc_height[disc]) / 2
    w = grid.window((-32, 32), (-44, 2), (middle - half - 8, middle + half + 8))
    if w is None:
        return
    overhang = 1.0 + 0.4 * a.bulge[spine.lumbar(disc)] + 0.3 * a.osteophyte[disc]
    radius = (np.abs(w.u) / (width / 2 + overhang)) ** np.float32(ROUND)
    left = float(a.remnant[disc - FIRST_FUSED]) if disc >= FIRST_FUSED else 1.0
    reach = left * (depth / 2 + overhang * 0.5 + 0.5)
    radius = radius + (np.abs(w.v + depth / 2 + 0.5) / reach) ** np.float32(ROUND)
    wedge = np.float32(np.tan(np.radians(a.disc_wedge[disc])) / 2)
    arched = np.clip(1 - radius, 0, 1) ** np.float32(0.7)
    sag = np.where(w.s > middle, *(np.float32(share * half) for share in SAG))
    thick = half + wedge * (-w.v) + sag * arched
    gap = np.abs(w.s - middle) - thick
    inside = radius < 1
    w.paint(inside & (gap < 0.7) & (w.ids != tissue.FAT), tissue.CORTEX)
    w.paint(inside & (gap < 0), tissue.ANNULUS + disc)
    core = (w.u / (0.35 * width)) ** 2 + ((w.v + 0.47 * depth) / (0.34 * depth)) ** 2
    bulk = np.abs(w.s - middle) < (thick - 0.4) * np.sqrt(np.clip(1.05 - core, 0, 1))
    if 0.3 < a.nucleus[disc] < 0.8:  # the dark cleft of the adult nucleus
        bulk &= np.abs(w.s - middle) > 0.45
    near = np.abs(w.s - middle) < (thick - 0.2) * np.sqrt(np.clip(1.25 - 0.75 * core, 0, 1))
    w.paint(inside & (core < 1.55) & near, tissue.INNER + disc)
    w.paint((core < 0.8) & bulk, tissue.NUCLEUS + disc)


def sacrum(spine: Spine, grid: VoxelGrid) -> None:
    """The fused lateral mass of the sacrum, from the base to S3, with its foramina."""
    a, f, first = spine.anatomy, spine.frame, spine.first_fused
    top = spine.pedicle(first)[1] + 0.46 * spine.pedicle_height(first)
    bottom = float(f.body_s[-1] - a.body_height[-1] / 2)
    for side in range(2):
        w = grid.window(mirrored(side, 10, 48), (-34, 20), (bottom, top))
        if w is None:
            continue
        across, below = np.abs(w.u), top - w.s
        width, depth = profile(w.s, f.body_s, a.body_width), profile(w.s, f.body_s, a.body_depth)
        front = w.v + depth * (np.float32(0.80) - np.float32(0.008) * np.clip(across - 12, 0, None))
        back = 13 - np.float32(0.1) * (across - 12) - np.float32(0.08) * below - w.v
        sides = np.minimum(below - 0.45 * np.clip(across - 27, 0, None), 47 - 0.009 * below * below - across)
        inside = np.minimum(np.minimum(front, back), sides.astype(np.float32))
        beside = FUSED[first][w.ids] & (across > 0.33 * width) & (w.v < -1)
        free = (w.ids == 0) | beside
        w.paint(free & (inside > 0), tissue.CORTEX)
        w.paint(free & (inside > 0.8), tissue.MARROW)
        for disc in range(first, 10):
            _sacral_foramen(w, spine.foramen_box(disc))


def _sacral_foramen(w: Window, box: tuple[float, float, float, float]) -> None:
    """A channel of fat through the sacrum from front to back, with a lane to it from the canal."""
    inner, outer, low, high = box
    across, off, height = (
        np.abs(w.u) - np.float32(0.5 * (inner + outer)),
        w.s - np.float32(0.5 * (low + high)),
        high - low,
    )
    gap = np.hypot(0.9 * across, off) - np.float32(0.36 * height)
    lane = (np.abs(off) < 0.25 * height) & (across < 0) & (np.abs(w.v - 3) < 5)
    solid = (w.ids == tissue.MARROW) | (w.ids == tissue.CORTEX)
    w.paint(solid & ((gap < 0.8) | lane), tissue.CORTEX)
    w.paint(solid & ((gap < 0) | lane), tissue.FAT)


def endplates(spine: Spine, grid: VoxelGrid, disc: int) -> None:
    """Modic changes and Schmorl nodes of the two endplates of a lumbar disc."""
    a, level, middle = spine.anatomy, spine.lumbar(disc), float(spine.frame.disc_s[disc])
    half = float(a.disc_height[disc]) / 2
    kind, *depths = a.modic[level]
    for sign, deep in zip((1.0, -1.0), depths, strict=True):
        end = middle + sign * (half + deep + 5)
        w = grid.window((-26, 26), (-40, 0), (min(middle, end), max(middle, end)))
        if kind and deep and w is not None:
            ragged = deep * (0.7 + 0.3 * np.cos(0.35 * w.u + disc) * np.cos(0.3 * w.v + level))
            w.paint((w.ids == tissue.MARROW) & (sign * (w.s - middle) < half + ragged), tissue.MODIC[int(kind) - 1])
    deep, radius, place = a.schmorl[level]
    w = grid.window((-8, 8), (-40, -2), (middle - half - 11, middle + half + 11))
    if deep and w is not None:
        far = np.sign(deep) * (w.s - middle) - half
        node = np.hypot(np.hypot(w.u, w.v - place) / radius, np.clip(far - 1, 0, None) / abs(deep)) - 1
        w.paint((node < 0.25) & (far > 0) & (w.ids == tissue.MARROW), tissue.CORTEX)
        w.paint((node < 0) & (far > -2), tissue.ANNULUS + disc)


def pedicles(spine: Spine, grid: VoxelGrid, vertebra: int) -> None:
    """Pedicles, transverse processes and the pars that runs down from each pedicle."""
    a = spine.anatomy
    across, middle = spine.pedicle(vertebra)
    height, width = spine.pedicle_height(vertebra), float(a.pedicle_width[vertebra])
    depth = spine.roof_at(middle)
    for side, sign in enumerate(SIDE_SIGNS):
        w = grid.window(mirrored(side, across - 10, across + 31), (-13, 24), (middle - 23, middle + 10))
        if w is None:
            continue
        u = sign * w.u - np.float32(across)
        waist = height * (0.9 + 0.3 * np.clip(np.abs(w.v - 3) / 9, 0, 1.2) ** 2)
        tube = np.hypot(u / width, (w.s - middle) / waist) - np.float32(0.5)
        root = np.maximum(tube * min(height, width), np.abs(w.v - 1) - 13)
        behind = depth - 9.2 + 0.16 * (middle - w.s)
        pars = _rounded((u - 0.5) / 5.0, (w.v - behind) / 4.0, (w.s - middle + 10) / 12.5, size=4.0)
        shape = np.minimum(root, pars)
        if vertebra in LUMBAR_DISCS:
            thick = 2.2 if vertebra == LUMBAR_DISCS[-1] and a.transitional == "sacralised" else 1.0
            arm = np.hypot((w.v - 8 - 0.1 * u) / 3.5, (w.s - middle + 1) / (5.0 * thick)) - 1
            shape = np.minimum(shape, np.maximum(arm * 3.5, np.abs(u - 13) - 17))
        w.bone(shape.astype(np.float32))
        if a.screws[vertebra]:
            metal = np.hypot(u + 0.25 * (w.v - 2), w.s - middle) < 4.5
            w.paint(metal & (w.v > -22) & (w.v < 26), tissue.METAL)


def facet(spine: Spine, grid: VoxelGrid, disc: int, side: int) -> None:
    """Both articular processes of one joint; degeneration grows the superior one inwards, forwards and upwards."""
    a, middle, level = spine.anatomy, float(spine.frame.disc_s[disc]), spine.lumbar(disc)
    growth, gap = float(a.facet[level, side]), 0.5 * float(a.joint_gap[level, side])
    joint, sign = spine.joint(disc, side), SIDE_SIGNS[side]
    across, behind = joint.centre
    _, _, bottom, top = spine.foramen_box(disc)
    w = grid.window(mirrored(side, across - 14, across + 16), (-2, 36), (bottom - 6, top + 8))
    if w is None:
        return
    du, dv = sign * w.u - np.float32(across), w.v - np.float32(behind)
    along = du * joint.tangent[0] + dv * joint.tangent[1]
    beyond = du * joint.normal[0] + dv * joint.normal[1] - np.float32(1 / 40) * along * along
    tip = middle + 5.0 + 0.8 * growth + 0.8 * a.height_loss[level]
    half, thick = 7.2 + 0.5 * growth, 3.4 + 0.5 * growth
    low = bottom - 6
    superior = _rounded(
        (along + 0.3 * growth) / half,
        (beyond - gap - thick) / thick,
        (w.s - 0.5 * (tip + low)) / (0.5 * (tip - low)),
        size=thick,
    )
    end = middle - 9.0 - 0.3 * growth
    inferior = _rounded(
        along / half,
        (beyond + gap + 3.2) / (3.2 + 0.2 * growth),
        (w.s - 0.5 * (end + top)) / (0.5 * (top - end)),
        size=3.2,
    )
    both = np.minimum(superior, inferior).astype(np.float32)
    near = np.abs(w.s - middle) < 11
    w.paint((w.ids == 0) & (both < 0.8) & near, tissue.FLAVUM)
    w.paint((w.ids == tissue.FAT) & (both < 0.9 + 0.15 * growth) & near, tissue.FLAVUM)
    w.bone(both, rim=0.7 + 0.12 * growth)
    w.paint((w.ids == 0) & (both < 2.2) & (beyond + 0.3 * along < -2) & (w.s > middle - 6), tissue.FAT)
    line = (np.abs(beyond) < gap) & (np.abs(along) < half - 0.5) & (np.abs(w.s - middle) < 8)
    w.paint(line, tissue.JOINT)
    radius = float(a.cyst[level, side])
    if radius:
        cyst = np.sqrt((du + half * joint.tangent[0]) ** 2 + (dv + half * joint.tangent[1]) ** 2 + (w.s - middle) ** 2)
        w.paint((cyst < radius + 0.7) & (w.ids == tissue.FAT), tissue.LIGAMENT)
        w.paint((cyst < radius) & (w.ids <= tissue.LIGAMENT), tissue.CYST)
