"""Which plane, weighting and role a series has by its headers, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lumbar_kernel.dicom.descriptions import (
    MAX_STIR_MS,
    MIN_STIR_MS,
    OTHER,
    T1,
    T2,
    flavour,
    kind_without_role,
    named_weighting,
)
from lumbar_kernel.dicom.headers import SliceHeader
from lumbar_kernel.geometry import CRANIAL, Plane, SlicePlane, planes_near, posterior_direction
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2

PLANE_AND_WEIGHTING = {
    SAGITTAL_T1: (Plane.SAGITTAL, T1),
    SAGITTAL_T2: (Plane.SAGITTAL, T2),
    AXIAL_T2: (Plane.AXIAL, T2),
}
"""Of each role."""

ROLES: Mapping[tuple[Plane, str | None], str] = {pair: role for role, pair in PLANE_AND_WEIGHTING.items()}
"""The role of a plane and a weighting, where one has the pair."""

PLANE_SHARE = 0.8
"""Share of its slices that must lie in one plane; scouts have three planes in about equal parts."""

NAMED_SHARE = 1 / 3
"""Share of its headers that must name a weighting, or diffusion, for a series to have it; the rest may be stripped."""

MIN_TR_MS = 100.0
"""Repetition times below are those of gradient echoes, which scouts and calibration scans use."""

T1_TR_MS, LONG_TR_MS = 1300.0, 1500.0
"""Repetition times up to which spin echoes are T1, and beyond which fluid has recovered: T2, or proton density."""

SHORT_TE_MS, STIR_TE_MS, T2_TE_MS = 40.0, 30.0, 60.0
"""Echo times below which T2 adds little (T1, or proton density), and from which on an inversion recovery that names no
InversionTime is STIR and any sequence T2."""

FLAIR_TI_MS = 500.0
"""Inversion times beyond null fluid: with a short echo, T1 FLAIR."""


@dataclass(frozen=True)
class Weighting:
    """T1, T2 or OTHER, None where headers do not say; and what says so, the headers or the pixels."""

    name: str | None
    reason: str
    by_pixels: bool = False


def main_plane(planes: Sequence[Plane | None]) -> Plane | None:
    """The plane of at least `PLANE_SHARE` of a series' slices, None for scouts in several planes or oblique stacks."""
    plane, count = Counter(planes).most_common(1)[0]
    return plane if count >= PLANE_SHARE * len(planes) else None


def slice_planes(headers: Sequence[SliceHeader], *, declared: Plane | None) -> list[Plane | None]:
    """The plane of each slice of a series, None for one that is too oblique.

    Between 40 and 50 degrees a slice lies within the limit of two planes. The plane of the role that a table declares
    decides, then the one of the series' other slices, then the tilt: axial slices through L5/S1 rise backwards, coronal
    ones along the sacrum fall.
    """
    near = [planes_near(header.plane.normal) for header in headers]
    sure = Counter(planes[0] for planes in near if len(planes) == 1)
    usual = sure.most_common(1)[0][0] if sure else None
    return [
        None
        if not planes
        else next((wanted for wanted in (declared, usual) if wanted in planes), None) or _by_tilt(planes, header.plane)
        for planes, header in zip(near, headers, strict=True)
    ]


def _by_tilt(planes: Sequence[Plane], plane: SlicePlane) -> Plane:
    if {*planes} != {Plane.CORONAL, Plane.AXIAL}:
        return planes[0]
    return Plane.AXIAL if posterior_direction(plane.normal) @ CRANIAL > 0 else Plane.CORONAL


def main_weighting(headers: Sequence[SliceHeader]) -> Weighting:
    """The weighting in most of the headers that have one; no name when they are too few, so that no odd one decides."""
    if NAMED_SHARE * len(headers) < sum(bool(header.diffusion_b_value) for header in headers):
        return Weighting(OTHER, "diffusion by DiffusionBValue")
    found = [weighting for header in headers if (weighting := weighting_of(header)).name is not None]
    if len(found) <= NAMED_SHARE * len(headers):
        return Weighting(None, "its headers name no weighting")
    name = Counter(weighting.name for weighting in found).most_common(1)[0][0]
    reasons = Counter(weighting.reason for weighting in found if weighting.name == name)
    return Weighting(name, reasons.most_common(1)[0][0])


def weighting_of(header: SliceHeader) -> Weighting:
    """The weighting of one slice by its kind, description or ImageType, else by its timing."""
    if (kind := kind_without_role(header)) is not None:
        return Weighting(OTHER, kind)
    if (named := named_weighting(header)) is not None:
        what = "proton density" if named == OTHER else named
        return Weighting(named, f"{what} by SeriesDescription")
    if (named := flavour(header)) is not None:
        return Weighting(named, f"{named} by ImageType")
    return _weighting_by_timing(header)


def _weighting_by_timing(header: SliceHeader) -> Weighting:
    """Weighting from milliseconds: long echoes are T2, an inversion that nulls fat is STIR, one that nulls fluid T1."""
    echo, repetition, inversion = header.echo_time, header.repetition_time, header.inversion_time
    times = {"RepetitionTime": repetition, "EchoTime": echo, "InversionTime": inversion}
    texts = [f"{name} {value:g}" for name, value in times.items() if value is not None]
    name = _by_times(echo, repetition, inversion, header.scanning_sequence.upper())
    return Weighting(name, f"{name} by {', '.join(texts)} ms" if name else "its headers name no weighting")


def _by_times(echo: float | None, repetition: float | None, inversion: float | None, sequence: str) -> str | None:
    if inversion is not None and MIN_STIR_MS <= inversion <= MAX_STIR_MS:
        return T2
    if inversion is not None and inversion > FLAIR_TI_MS and echo is not None and echo < SHORT_TE_MS:
        return T1
    if echo is not None and echo >= T2_TE_MS:
        return T2
    if repetition is None or repetition <= 0:
        return None
    if echo is not None and echo >= STIR_TE_MS and repetition > LONG_TR_MS and "IR" in sequence:
        return T2
    if repetition < MIN_TR_MS:
        return OTHER
    if repetition < T1_TR_MS and (echo is None or 0 < echo < SHORT_TE_MS):
        return T1
    return OTHER if echo is not None and 0 < echo < SHORT_TE_MS and repetition > LONG_TR_MS else None
