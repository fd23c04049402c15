"""Files of a study → stacks: the slices of each series and contrast in order, with what their headers say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from lumbar_kernel.dicom.descriptions import dixon_image, other_region
from lumbar_kernel.dicom.headers import SliceHeader, try_headers
from lumbar_kernel.dicom.ordering import ordered, without_duplicates
from lumbar_kernel.dicom.roles import PLANE_AND_WEIGHTING, ROLES, Weighting, main_plane, main_weighting, slice_planes
from lumbar_kernel.dicom.series_split import acquisitions
from lumbar_kernel.errors import DicomError
from lumbar_kernel.geometry import Plane
from lumbar_kernel.schema import NO_ROLE
from lumbar_kernel.study import SeriesDecision, SeriesFiles

MIN_SLICES = 3
"""A series with fewer slices is a scout or a remnant when a fuller one of its plane exists."""

REPEATED_SHARE = 0.5
"""Fraction of its places that a contrast must share with another one of its series to be a series of its own."""


@dataclass(frozen=True, eq=False)
class Stack:
    """The slices of one series and contrast.

    Attributes:
        series_id: as in `SeriesDecision`.
        plane: of all its slices.
        headers: of its slices, in order.
        weighting: T1 or T2, None where its headers do not say.
        from_table: whether a table named its role.
        copies: of each slice, those at the same position.
    """

    series_id: str
    plane: Plane
    headers: tuple[SliceHeader, ...]
    weighting: Weighting
    from_table: bool
    copies: Mapping[SliceHeader, Sequence[SliceHeader]]

    @property
    def role(self) -> str | None:
        """The role that plane and weighting give; None where the headers name no weighting."""
        return ROLES.get((self.plane, self.weighting.name))

    @property
    def middle(self) -> SliceHeader:
        """Its middle slice."""
        return self.headers[len(self.headers) // 2]

    def without(self, lost: Collection[SliceHeader]) -> Stack:
        """The stack without some of its slices."""
        return replace(self, headers=tuple(header for header in self.headers if header not in lost))

    def decision(self, role: str | None, reason: str) -> SeriesDecision:
        """What was decided about it."""
        return decision(self.series_id, self.headers, role, reason)


@dataclass(frozen=True)
class Sorted:
    """The stacks of a study, the series that can play no role, and a sentence for each thing that went wrong."""

    stacks: tuple[Stack, ...]
    refused: tuple[SeriesDecision, ...]
    problems: tuple[str, ...]


def stacks_of(series: Sequence[SeriesFiles]) -> Sorted:
    """Read the headers of the series of a study; broken files are left out and named."""
    stacks: list[Stack] = []
    refused: list[SeriesDecision] = []
    problems: list[str] = []
    for item in series:
        if item.role == NO_ROLE:
            refused.append(SeriesDecision(item.series_id, None, "left out by the roles given", slices=len(item.paths)))
            continue
        for series_id, members in _contrasts(item, _headers(item, problems)):
            found = _stack(series_id, item.role, members, problems)
            if isinstance(found, Stack):
                stacks.append(found)
            else:
                refused.append(found)
    kept, remnants = _without_remnants(stacks)
    return Sorted(tuple(kept), (*refused, *remnants), tuple(problems))


def decision(series_id: str, headers: Sequence[SliceHeader], role: str | None, reason: str) -> SeriesDecision:
    """What was decided about the slices of a series."""
    middle = headers[len(headers) // 2]
    return SeriesDecision(
        series_id=series_id,
        role=role,
        reason=reason,
        description=middle.series_description,
        image_type=middle.image_type,
        slices=len(headers),
        matrix=middle.plane.shape,
        pixel_mm=(middle.plane.row_spacing, middle.plane.column_spacing),
        step_mm=step_mm(headers),
    )


def step_mm(headers: Sequence[SliceHeader]) -> float:
    """Median distance of neighbouring slices along their normals, 0 for a single one."""
    steps = [abs(float(one.plane.distance(other.plane.origin))) for one, other in pairwise(headers)]
    return round(float(np.median(steps)), 3) if steps else 0.0


def _headers(series: SeriesFiles, problems: list[str]) -> list[SliceHeader]:
    headers: list[SliceHeader] = []
    for path in series.paths:
        try:
            found = try_headers(path)
        except DicomError as error:
            problems.append(str(error))
            continue
        headers += [item for item in found if isinstance(item, SliceHeader)]
        problems += [str(item) for item in found if isinstance(item, DicomError)]
    return headers


def _contrasts(series: SeriesFiles, headers: Sequence[SliceHeader]) -> list[tuple[str, list[SliceHeader]]]:
    """The parts of a series that are series of their own: other acquisitions without a role, contrasts of one place."""
    if not headers:
        return []
    parts: list[tuple[str, list[SliceHeader]]] = []
    apart = acquisitions(series.series_id, headers) if series.role is None else [(series.series_id, list(headers))]
    for series_id, members in apart:
        by_contrast = _by_contrast(members)
        names = [f"{series_id} {name}" if len(by_contrast) > 1 else series_id for name in by_contrast]
        parts += zip(names, by_contrast.values(), strict=True)
    return parts


def _by_contrast(headers: Sequence[SliceHeader]) -> dict[str, list[SliceHeader]]:
    """The slices by Dixon image, EchoTime and ImageType, where these show the same places more than once."""
    for name_of in (_dixon_name, _echo_name, _kind_name):
        groups: dict[str, list[SliceHeader]] = {}
        for header in headers:
            groups.setdefault(name_of(header), []).append(header)
        if len(groups) > 1 and _repeat(list(groups.values())):
            return groups
    return {"": list(headers)}


def _dixon_name(header: SliceHeader) -> str:
    return dixon_image(header) or "no Dixon image"


def _echo_name(header: SliceHeader) -> str:
    return "no EchoTime" if header.echo_time is None else f"EchoTime {header.echo_time:.0f}"


def _kind_name(header: SliceHeader) -> str:
    return "/".join(header.image_type) or "no ImageType"


def _repeat(groups: Sequence[Sequence[SliceHeader]]) -> bool:
    places = [{_place(header) for header in group} for group in groups]
    largest = max(places, key=len)
    return any(len(own & largest) >= REPEATED_SHARE * len(own) for own in places if own is not largest)


def _place(header: SliceHeader) -> tuple[float, ...]:
    return tuple(np.round(np.concatenate([header.plane.origin, header.plane.normal]), 1).tolist())


def _stack(series_id: str, role: str | None, headers: list[SliceHeader], problems: list[str]) -> Stack | SeriesDecision:
    """One series with its plane and weighting, or why no role wants it."""
    declared, name = PLANE_AND_WEIGHTING[role] if role else (None, None)
    planes = slice_planes(headers, declared=declared)
    plane = main_plane(planes)
    if role and plane not in (None, declared):
        problems.append(
            f"series {series_id}: the table says {role} but its slices are {_name(plane)}; geometry decides"
        )
        role = None
    if role:
        plane, weighting = declared, Weighting(name, "the table of series descriptions")
    elif region := _other_region(headers):
        return decision(series_id, headers, None, f"it shows {region}")
    else:
        weighting = main_weighting(headers)
    if plane in (None, Plane.CORONAL):
        return decision(series_id, headers, None, f"its slices are {_name(plane)}, no role wants it")
    if weighting.name and (plane, weighting.name) not in ROLES:
        return decision(series_id, headers, None, f"{plane.value}, {weighting.reason}, no role wants it")
    fitting = [header for header, own in zip(headers, planes, strict=True) if own is plane]
    if len(fitting) < len(headers):
        problems.append(f"series {series_id}: {len(headers) - len(fitting)} slices are not {plane.value}, left out")
    if not fitting:
        return decision(series_id, headers, None, f"none of its slices is {plane.value}")
    copies = without_duplicates(fitting)
    if repeated := sum(map(len, copies.values())):
        problems.append(f"series {series_id}: {repeated} slices repeat the place of another one, left out")
    return Stack(series_id, plane, ordered([*copies], plane), weighting, role is not None, copies)


def _other_region(headers: Sequence[SliceHeader]) -> str | None:
    region, count = Counter(other_region(header) for header in headers).most_common(1)[0]
    return region if count > len(headers) / 2 else None


def _without_remnants(stacks: Sequence[Stack]) -> tuple[list[Stack], list[SeriesDecision]]:
    """The series without scouts of one or two slices, unless no larger series lies in their plane."""
    fullest = {
        plane: max(len(stack.headers) for stack in stacks if stack.plane is plane)
        for plane in {stack.plane for stack in stacks}
    }
    kept: list[Stack] = []
    remnants: list[SeriesDecision] = []
    for stack in stacks:
        if stack.from_table or len(stack.headers) >= MIN_SLICES or fullest[stack.plane] < MIN_SLICES:
            kept.append(stack)
        else:
            remnants.append(stack.decision(None, f"only {len(stack.headers)} slices, another series has more"))
    return kept, remnants


def _name(plane: Plane | None) -> str:
    return plane.value if plane else "in several planes"
