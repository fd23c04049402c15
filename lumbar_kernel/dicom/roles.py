"""Which role a series plays, from the table, from its headers or, where those are stripped, from its pixels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.dicom.headers import SliceHeader
from lumbar_kernel.geometry import Plane, plane_of
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import Slice

T1, T2, OTHER = "T1", "T2", "other"
"""Weightings; OTHER fits no role (scouts, diffusion, proton density)."""

MIN_SLICES = 3
"""A series with fewer slices is a scout or a remnant when a fuller one of its plane exists."""

PLANE_SHARE = 0.8
"""Share of its slices that must lie in one plane; scouts have three planes in about equal parts."""

GRID_MM = 1.5
CANAL_WIDTH_PIXELS = 13
"""Bands narrower than this on a 1.5 mm grid count as canal-like: about 20 mm, wider than the sac, narrower than the
vertebral bodies and mostly than the fat under the skin."""

SINGLE_LIMIT = 0.05
"""Band contrast of a lone series above which it is called T2."""

PAIR_LIMIT = 0.02
"""Band contrast of the difference below which two series count as of one weighting; 98 % of T1-T2 pairs exceed .05."""

_NO_ROLE_WORDS = re.compile(
    r"lo[ck]ali[sz]|scout|survey|three.?plane|3.?plane|topogram|übersicht|rep[ée]rage|smart.?brain"
    r"|calib|kalib|ref(erence)?.?scan|diffusion|trace|ep2d|(?<![a-z0-9])b\d{3,4}(?!\d)"
    r"|myelo|subtra|(?<![a-z])sub$|(?<![a-z])t[12][ _*]*map|mapping|fat.?frac|perfusion"
    r"|(?<![a-z])(loc|dwi|diff|adc|mip)(?![a-z])"
)
"""Localisers, calibration, diffusion and derived maps, in the languages that scanners use."""

_NO_ROLE_IMAGE_TYPES = frozenset(
    (
        *("LOCALIZER", "ADC", "TRACEW", "DIFFUSION", "FA", "PERFUSION", "SUBTRACTION", "SUB", "PROJECTION IMAGE"),
        *("T1 MAP", "T2 MAP", "T2_STAR MAP", "R2 MAP", "R2_STAR MAP", "FAT_FRACTION", "FAT FRACTION", "PDFF"),
    )
)
"""Values of ImageType of pictures that no role wants."""

_NAMED = {T1: re.compile(r"t1(?![0-9])"), T2: re.compile(r"t2(?![0-9])")}
"""A weighting that a description names outweighs the sequence that it names: `t2_fl2d` is T2."""

_T2_WORDS = re.compile(r"stir|tirm|t2(?![0-9])|medic|me2d|fiesta|ciss")
_T1_WORDS = re.compile(r"t1(?![0-9])|fl2d|flash|vibe|mprage|spgr")
_PD_WORDS = re.compile(r"(?<![a-z])pd(?![a-z])|proton")


def main_plane(headers: Sequence[SliceHeader]) -> Plane | None:
    """The plane of at least `PLANE_SHARE` of the slices, None for scouts in several planes or oblique stacks."""
    counts = Counter(plane_of(header.plane.normal) for header in headers)
    plane, count = counts.most_common(1)[0]
    return plane if count >= PLANE_SHARE * len(headers) else None


def main_weighting(headers: Sequence[SliceHeader]) -> str | None:
    """The weighting in most of the headers, so that no single header decides; None when none has one."""
    counts = Counter(weighting for header in headers if (weighting := weighting_of(header)) is not None)
    return counts.most_common(1)[0][0] if counts else None


def plane_for(role: str) -> Plane:
    """The plane of a role."""
    return Plane.AXIAL if role == AXIAL_T2 else Plane.SAGITTAL


def role_for(plane: Plane, weighting: str) -> str | None:
    """The role of a plane and a weighting, None where no role has the pair."""
    roles = {(Plane.SAGITTAL, T1): SAGITTAL_T1, (Plane.SAGITTAL, T2): SAGITTAL_T2, (Plane.AXIAL, T2): AXIAL_T2}
    return roles.get((plane, weighting))


def weighting_of_role(role: str) -> str:
    """The weighting of a role."""
    return T1 if role == SAGITTAL_T1 else T2


def weighting_of(header: SliceHeader) -> str | None:
    """T1, T2 or OTHER from description, ImageType and diffusion, else from the timing; None when nothing decides."""
    description = header.series_description.lower()
    if _NO_ROLE_WORDS.search(description) or _NO_ROLE_IMAGE_TYPES.intersection(header.image_type):
        return OTHER
    if header.diffusion_b_value:
        return OTHER
    named = [weighting for weighting, words in _NAMED.items() if words.search(description)]
    if len(named) == 1:
        return named[0]
    is_t1, is_t2 = bool(_T1_WORDS.search(description)), bool(_T2_WORDS.search(description))
    if is_t1 != is_t2:
        return T1 if is_t1 else T2
    if _PD_WORDS.search(description):
        return OTHER
    return _weighting_by_timing(header)


def _weighting_by_timing(header: SliceHeader) -> str | None:
    """Weighting from milliseconds: long echoes are T2, an inversion that nulls fat is STIR, one that nulls fluid T1."""
    echo, repetition, inversion = header.echo_time, header.repetition_time, header.inversion_time
    if inversion is not None and 80 <= inversion <= 350:
        return T2
    if inversion is not None and inversion > 500 and echo is not None and echo < 40:
        return T1
    if echo is not None and echo >= 60:
        return T2
    if repetition is None or repetition <= 0:
        return None
    if echo is not None and echo >= 30 and repetition > 1500 and "IR" in header.scanning_sequence.upper():
        return T2
    if repetition < 1300 and (echo is None or 0 < echo < 40):
        return T1
    return OTHER if echo is not None and 0 < echo < 40 and repetition > 1500 else None


def weightings_by_pixels(series: Sequence[Sequence[Slice]], *, known: Sequence[str | None]) -> list[str]:
    """T1 or T2 for each of several sagittal series of one study, by whether the canal is brighter than around it.

    Two series are compared on the same patient points and the one with the brighter band is T2. That the difference
    of two images is judged, not each by itself, cancels the coil's shading and what fat does in both: tried on 122
    pairs of SPIDER all came out right, 97 % of them still with T2 turned into a pseudo-STIR.

    Args:
        series: the slices of each series, sorted by position.
        known: the weighting of each series where headers or a table gave it; these are returned unchanged.
    """
    indices = range(len(series))
    gains = np.array([[_mean_band(one, other) if one is not other else 0.0 for other in series] for one in series])
    gains = (gains - gains.T) / 2  # one series brighter is the other darker, whichever gave the grid
    means = gains.mean(axis=1)
    darkest = min([i for i in indices if known[i] == T1] or indices, key=lambda i: means[i])
    brightest = max([i for i in indices if known[i] == T2] or indices, key=lambda i: means[i])
    gap = float(gains[brightest, darkest])
    if gap < PAIR_LIMIT:  # one series alone, or all of one kind
        return [known[i] or (T2 if _mean_band(series[i], None) > SINGLE_LIMIT else T1) for i in indices]
    return [known[i] or (T2 if gains[i, darkest] > gap / 2 else T1) for i in indices]


def _mean_band(slices: Sequence[Slice], others: Sequence[Slice] | None) -> float:
    """Mean band contrast over the middle third of a sagittal stack, of the difference to another stack if given."""
    third = len(slices) // 3
    middle = slices[third : len(slices) - third]
    bands = [_slice_band(item, others) for item in middle]
    return float(np.mean([band for band in bands if band is not None] or [0.0]))


def _slice_band(item: Slice, others: Sequence[Slice] | None) -> float | None:
    height, width = item.plane.extent_mm
    steps = [
        np.arange(0, height, GRID_MM) / item.plane.row_spacing,
        np.arange(0, width, GRID_MM) / item.plane.column_spacing,
    ]
    points = item.plane.to_mm(np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1))
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


def _sample(item: Slice, points_mm: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    pixels = item.plane.to_pixel(points_mm)
    smooth = cv2.blur(item.pixels, (3, 3))
    rows, columns = np.moveaxis(pixels.astype(np.float32), -1, 0)
    image = cv2.remap(smooth, columns, rows, cv2.INTER_LINEAR)
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
