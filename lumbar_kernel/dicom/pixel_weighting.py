"""T1 or T2 from the pixels, for series whose headers were stripped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.dicom.descriptions import T1, T2
from lumbar_kernel.geometry import SlicePlane, unit
from lumbar_kernel.grids import upright_axes
from lumbar_kernel.study import Slice

GRID_MM = 1.5
CANAL_WIDTH_PIXELS = 13
"""Bands narrower than this on a 1.5 mm grid count as canal-like: about 20 mm, wider than the sac, narrower than the
vertebral bodies and mostly than the fat under the skin."""

SINGLE_LIMIT = 0.05
"""Band contrast of a lone series above which it is called T2."""

MAX_PAIRED = 8
"""Sagittal series that are all compared with each other, named ones and then the fullest; the time of all pairs grows
with the square of their number. Further ones are compared with the darkest of these alone."""

MAX_AXIAL_SERIES = 2
"""Axial series that are compared with sagittal ones, the fullest."""

MAX_AXIAL_SLICES = 12
"""Slices of an axial series that are compared with the sagittal ones."""

AXIAL_WEIGHT = 0.1
"""Weight of what axial slices share with sagittal ones beside the band contrast: fluid decides where there is any."""

ALIKE, ALIKE_SPREAD = 0.4, 0.1
"""Correlation of sagittal T1 and T2 where they cross axial slices, from which on fat is bright in both, and how far it
must be from that to be sure: 0.42 to 0.89 in phantoms with plain T2, but for two, and -0.15 to 0.38 with STIR."""

CANAL_REACH_MM = 10.0
"""Distance from the middle of axial slices within which sagittal ones, which show the canal, are compared with them."""

LINE_STEP_MM, LINE_REACH_MM = 1.5, 60.0
"""Step of the points on a line where two slices cross, and how far it goes from the middle of the axial slice."""

SHADING_STEPS = 10.0
"""Sigma in steps of what is taken as the coil's shading along such a line."""

LEAST_SIGNAL = 1e-3
"""Standard deviation along all such lines below which a series is blank there; that of a line with any signal is 1."""

NEAR_MM = 3.5
"""Largest distance of a sagittal T2 slice from the T1 slice with which it is compared; half a usual step and more."""

FLUID_SHARE = 0.02
"""Share of the places, those where sagittal T2 exceeds T1 most, that count as fluid."""

MIN_POINTS = 200

AXIAL_GAP = 0.47
"""Difference in the brightness of fluid, in standard deviations, from which on two axial series of the same levels are
T2 and T1: 0.50 to 2.9 in 21 of 22 phantoms scanned with both (-0.05 in the other), at most 0.45 in the same scanned
with T2 twice; eight of them had STIR as sagittal T2."""

SAME_HEIGHT_MM = 5.0

PAIR_LIMIT = 0.02
"""Band contrast of the difference below which two series count as of one weighting; 98 % of T1-T2 pairs exceed .05."""


def sagittal_weightings(
    series: Sequence[Sequence[Slice]], *, known: Sequence[str | None], axial: Sequence[Sequence[Slice]] = ()
) -> list[str]:
    """T1 or T2 for each of several sagittal series of one study, by whether the canal is brighter than around it.

    Two series are compared on the same patient points and the one with the brighter band is T2. That the difference
    of two images is judged, not each by itself, cancels the coil's shading and what fat does in both: tried on 122
    pairs of SPIDER all came out right, 97 % of them still with T2 turned into a pseudo-STIR. Where stenosis leaves
    little fluid, axial slices help a little. Of 70 phantoms, half of them with common stenosis and 20 with STIR, 68
    came out right, 67 by the band alone, and 68 also with an axial T1 series that nothing names; with 45 % of all
    slices lost 62 and 63 of 69.

    Args:
        series: the slices of each series, sorted by position.
        axial: the slices of axial series that are T2, or may be.
        known: the weighting of each series where headers or a table gave it; these are returned unchanged.
    """
    if not series or all(known):
        return [name for name in known if name]
    series = [_smoothed(slices) for slices in series]
    crossing = [_smoothed(slices) for slices in sorted(axial, key=len, reverse=True)[:MAX_AXIAL_SERIES]]
    indices = range(len(series))
    paired = sorted(sorted(indices, key=lambda i: (known[i] is None, -len(series[i])))[:MAX_PAIRED])
    gains = np.zeros((len(series), len(series)))
    for i, j in combinations(paired, 2):
        gains[i, j] = _gain(series[i], series[j], crossing)
        gains[j, i] = -gains[i, j]
    means = gains[:, paired].mean(axis=1)
    darkest = min([i for i in paired if known[i] == T1] or paired, key=lambda i: means[i])
    brightest = max([i for i in paired if known[i] == T2] or paired, key=lambda i: means[i])
    for i in {*indices} - {*paired}:
        gains[i, darkest] = _gain(series[i], series[darkest], crossing)
    gap = float(gains[brightest, darkest])
    if gap < PAIR_LIMIT:  # one series alone, or all of one kind
        return [known[i] or (T2 if _mean_band(series[i], None) > SINGLE_LIMIT else T1) for i in indices]
    return [known[i] or (T2 if gains[i, darkest] > gap / 2 else T1) for i in indices]


def _smoothed(slices: Sequence[Slice]) -> list[Slice]:
    """The slices with the blur that every comparison wants, made once."""
    return [replace(item, pixels=cv2.blur(item.pixels, (3, 3))) for item in slices]


def _gain(one: Sequence[Slice], other: Sequence[Slice], axial: Sequence[Sequence[Slice]]) -> float:
    """How much more one sagittal series looks like T2 than another, whichever gave the grid: the other has less."""
    there = _mean_band(one, other) + AXIAL_WEIGHT * _axial_share(axial, one, other)
    back = _mean_band(other, one) + AXIAL_WEIGHT * _axial_share(axial, other, one)
    return (there - back) / 2


def _mean_band(slices: Sequence[Slice], others: Sequence[Slice] | None) -> float:
    """Mean band contrast over the middle third of a sagittal stack, of the difference to another stack if given."""
    third = len(slices) // 3
    middle = slices[third : len(slices) - third]
    bands = [_slice_band(item, others) for item in middle]
    return float(np.mean([band for band in bands if band is not None] or [0.0]))


def _slice_band(item: Slice, others: Sequence[Slice] | None) -> float | None:
    points = _upright_points(item.plane)
    image, inside = _sample(item, points)
    if others is not None:
        nearest = min(others, key=lambda other: abs(float(other.plane.distance(item.plane.centre))))
        second, second_inside = _sample(nearest, points)
        inside &= second_inside
    if inside.sum() < 1000:  # too little in common to compare: 1000 points are 22 cm²
        return None
    image = _normalised(image, inside)
    difference = image if others is None else image - _normalised(second, inside)
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    return _band_contrast(difference[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


def _upright_points(plane: SlicePlane) -> NDArray[np.float64]:
    """Points of a sagittal slice every `GRID_MM`, (rows, columns, 3) mm LPS: the canal runs along columns.

    A file may store its slices transposed, with the canal along the image's rows.
    """
    down, right = upright_axes(plane, sagittal=True)
    height, width = plane.extent_mm
    if abs(down @ plane.row_direction) > abs(down @ plane.column_direction):
        height, width = width, height
    corner = plane.corners[np.argmin(plane.corners @ (down + right))]
    shape = int(np.ceil(height / GRID_MM)), int(np.ceil(width / GRID_MM))
    return SlicePlane(corner, right, down, GRID_MM, GRID_MM, shape).pixel_centres


def _sample(item: Slice, points_mm: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    pixels = item.plane.to_pixel(points_mm)
    rows, columns = np.moveaxis(pixels.astype(np.float32), -1, 0)
    image = cv2.remap(item.pixels, columns, rows, cv2.INTER_LINEAR)
    return np.asarray(image, dtype=np.float32), item.plane.contains(pixels)


def _normalised(image: NDArray[np.float32], inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    low, high = np.percentile(image[inside], [1, 99])
    scaled = np.clip((image - low) / max(high - low, 1e-6), 0, 1.2)
    return np.where(inside, scaled, 0).astype(np.float32)


def _band_contrast(image: NDArray[np.float32]) -> float:
    """How much stronger the brightest upright narrow band of each row is than the darkest, in the canal's region."""
    rows, columns = image.shape
    # smoothed along the canal; 0.3-0.7 of the width holds it in 99 % of the marked RSNA and SPIDER frames
    smooth = cv2.GaussianBlur(image, (0, 0), sigmaX=1, sigmaY=6)
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (CANAL_WIDTH_PIXELS, 1))
    region = np.s_[int(0.15 * rows) : max(1, int(0.85 * rows)), int(0.3 * columns) : max(1, int(0.7 * columns))]
    bright = np.asarray(cv2.morphologyEx(smooth, cv2.MORPH_TOPHAT, kernel))[region]
    dark = np.asarray(cv2.morphologyEx(smooth, cv2.MORPH_BLACKHAT, kernel))[region]
    return float(bright.max(axis=1).mean() - dark.max(axis=1).mean())


def _axial_share(axial: Sequence[Sequence[Slice]], t2: Sequence[Slice], t1: Sequence[Slice]) -> float:
    """How much more axial series share with one sagittal series than with another, 0 where that cannot be said."""
    found = [_signals(slices, {T1: t1, T2: t2}) for slices in axial]
    return float(np.mean([_share_of_t2(signals) for signals in found if signals is not None] or [0.0]))


def _share_of_t2(signals: NDArray[np.float64]) -> float:
    """How much more sagittal T2 explains of the axial signal than T1, by signals (3, n) at the same places.

    Where T1 and T2 hardly correlate, fat is suppressed in T2. Fat is bright in axial T2, so that it then shares more
    with T1, and what it says is turned round.
    """
    axial, *sagittal = signals
    if np.std(sagittal, axis=1).min() < LEAST_SIGNAL:
        return 0.0
    (of_t1, of_t2), *_ = np.linalg.lstsq(np.stack(sagittal, axis=1), axial, rcond=None)
    alike = float(np.corrcoef(*sagittal)[0, 1])
    return float(of_t2 - of_t1) * float(np.clip((alike - ALIKE) / ALIKE_SPREAD, -1, 1))


def axial_weightings(
    series: Sequence[Sequence[Slice]], references: Mapping[str, Sequence[Slice]], *, known: Sequence[str | None]
) -> list[str]:
    """T1 or T2 for each of several axial series of one study, by the fluid where they cross sagittal slices.

    Along the lines where axial and sagittal slices cross, both show the same tissue, and fluid is what is brightest in
    T2 over T1. Of two series of the same levels the one in which fluid is much darker is T1. A series alone counts as
    T2, also without sagittal T1 and T2: protocols rarely have an axial T1 series alone.

    Args:
        series: the slices of each series, sorted by position.
        references: the sagittal slices of T1 and of T2, sorted by position.
        known: the weighting of each series where headers or a table gave it; these are returned unchanged.
    """
    if not references.get(T1) or not references.get(T2):
        return [name or T2 for name in known]
    series = [_smoothed(slices) for slices in series]
    references = {name: _smoothed(references[name]) for name in (T1, T2)}
    bright = [slices for slices, name in zip(series, known, strict=True) if name != T1]

    def is_dark(own: Sequence[Slice]) -> bool:
        return any(_gap(other, own, references) > AXIAL_GAP for other in bright if other is not own)

    return [name or (T1 if is_dark(own) else T2) for own, name in zip(series, known, strict=True)]


def _gap(one: Sequence[Slice], other: Sequence[Slice], references: Mapping[str, Sequence[Slice]]) -> float:
    """How much brighter fluid is in one axial series than in another, on the levels that both show; 0 if none."""
    first = _signals(_at_heights_of(one, other), references)
    second = _signals(_at_heights_of(other, one), references)
    return 0.0 if first is None or second is None else _fluid(first) - _fluid(second)


def _fluid(signals: NDArray[np.float64]) -> float:
    """Mean axial signal, in standard deviations, where sagittal T2 exceeds T1 most; signals (3, n)."""
    axial, t1, t2 = signals
    return float(axial[t2 - t1 >= np.quantile(t2 - t1, 1 - FLUID_SHARE)].mean())


def _at_heights_of(slices: Sequence[Slice], others: Sequence[Slice]) -> list[Slice]:
    """The slices of a series that lie near one of another series, along the body."""
    heights = np.array([item.plane.centre[2] for item in others])
    return [item for item in slices if np.abs(heights - item.plane.centre[2]).min() < SAME_HEIGHT_MM]


def _signals(slices: Sequence[Slice], references: Mapping[str, Sequence[Slice]]) -> NDArray[np.float64] | None:
    """Signals of an axial series, T1 and T2 at the same places, (3, n); None where too little is in common."""
    if len(slices) < 2:
        return None
    chosen = [slices[round(k)] for k in np.linspace(0, len(slices) - 1, min(len(slices), MAX_AXIAL_SLICES))]
    middle = np.mean([item.plane.centre for item in slices], axis=0)
    t1 = [item for item in references[T1] if abs(float(item.plane.distance(middle))) <= CANAL_REACH_MM]
    lines = [line for item in chosen for other in t1 if (line := _line(item, other, references[T2])) is not None]
    return np.concatenate(lines, axis=1) if sum(line.shape[1] for line in lines) >= MIN_POINTS else None


def _line(item: Slice, t1: Slice, others: Sequence[Slice]) -> NDArray[np.float64] | None:
    """Signals of an axial, a T1 and the nearest T2 slice where the first two cross, (3, n), free of shading."""
    direction = np.cross(item.plane.normal, t1.plane.normal)
    if np.linalg.norm(direction) < np.sin(np.radians(30)):
        return None
    normals = np.stack([item.plane.normal, t1.plane.normal, unit(direction)])
    start = item.plane.centre
    crossing = np.linalg.solve(normals, [start @ normals[0], t1.plane.centre @ normals[1], start @ normals[2]])
    t2 = min(others, key=lambda other: abs(float(other.plane.distance(crossing))))
    if abs(float(t2.plane.distance(crossing))) > NEAR_MM:
        return None
    points = crossing + np.arange(-LINE_REACH_MM, LINE_REACH_MM, LINE_STEP_MM)[:, None] * normals[2]
    sampled = [_sample(image, points[None]) for image in (item, t1, t2)]
    inside = np.logical_and.reduce([seen[0] for _, seen in sampled])
    if inside.sum() < 20:
        return None
    signals = np.stack([image[0][inside] for image, _ in sampled]).astype(np.float64)
    signals = np.log(signals + 0.03 * np.percentile(signals, 99, axis=1, keepdims=True) + 1e-6)
    signals -= cv2.GaussianBlur(signals, (0, 0), sigmaX=SHADING_STEPS, sigmaY=1e-3)
    signals -= signals.mean(axis=1, keepdims=True)
    return np.asarray(signals / np.maximum(signals.std(axis=1, keepdims=True), 1e-6))
