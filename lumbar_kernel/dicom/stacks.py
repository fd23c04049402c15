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
from lumbar_kernel.dicom.series_split import SHARED_PLACE_MM, acquisitions, shows_places_of
from lumbar_kernel.errors import DicomError
from lumbar_kernel.geometry import Plane
from lumbar_kernel.schema import NO_ROLE
from lumbar_kernel.study import SeriesDecision, SeriesFiles

MIN_SLICES = 3
"""A series with fewer slices is a scout or a remnant where a fuller one of its kind shows its places."""

LEFT_OUT = "left out by the roles given"

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
        is_role_given: whether a table or the user gave its role.
        copies: of each slice, those at the same position.
    """

    series_id: str
    plane: Plane
    headers: tuple[SliceHeader, ...]
    weighting: Weighting
    is_role_given: bool
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
class StudyStacks:
    """The stacks of a study, the series that can play no role, and a sentence for each thing that went wrong."""

    stacks: tuple[Stack, ...]
    refused: tuple[SeriesDecision, ...]
    problems: tuple[str, ...]


def stacks_of(series: Sequence[SeriesFiles]) -> StudyStacks:
    """Read the headers of the series of a study; broken files are left out and named."""
    stacks: list[Stack] = []
    refused: list[SeriesDecision] = []
    problems: list[str] = []
    for item in series:
        if item.role == NO_ROLE and not item.part_roles:
            refused.append(SeriesDecision(item.series_id, None, LEFT_OUT, slices=len(item.paths)))
            continue
        for series_id, members, role in _with_roles(item, _headers(item, problems), problems):
            found = _stack(series_id, role, members, problems)
            if isinstance(found, Stack):
                stacks.append(found)
            else:
                refused.append(found)
    kept, remnants = _without_remnants(stacks)
    return StudyStacks(tuple(kept), (*refused, *remnants), tuple(problems))


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
    steps = steps_mm(headers)
    return round(float(np.median(steps)), 3) if steps else 0.0


def steps_mm(headers: Sequence[SliceHeader]) -> list[float]:
    """Distances of neighbouring slices along their normals."""
    return [abs(float(one.plane.distance(other.plane.origin))) for one, other in pairwise(headers)]


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


def _with_roles(
    series: SeriesFiles, headers: Sequence[SliceHeader], problems: list[str]
) -> list[tuple[str, list[SliceHeader], str | None]]:
    """The parts of a series, each with the role that it is given."""
    parts, given = _contrasts(series, headers), dict(series.part_roles)
    for name in [name for name in given if name not in dict(parts)]:
        problems.append(f"series {series.series_id}: a role is given to {name!r}, which is no part of it")
    return [(name, members, given.get(name, series.role)) for name, members in parts]


def _contrasts(series: SeriesFiles, headers: Sequence[SliceHeader]) -> list[tuple[str, list[SliceHeader]]]:
    """The parts of a series that are series of their own: other acquisitions without a role, contrasts of one place."""
    if not headers:
        return []
    parts: list[tuple[str, list[SliceHeader]]] = []
    is_one = series.role not in (None, NO_ROLE)
    apart = [(series.series_id, list(headers))] if is_one else acquisitions(series.series_id, headers)
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
    if role == NO_ROLE:
        return decision(series_id, headers, None, LEFT_OUT)
    declared, name = PLANE_AND_WEIGHTING[role] if role else (None, None)
    planes = slice_planes(headers, declared=declared)
    plane = main_plane(planes)
    if role and plane not in (None, declared):
        problems.append(
            f"series {series_id}: its given role is {role} but its slices are {_name(plane)}; geometry decides"
        )
        role = None
    if role:
        plane, weighting = declared, Weighting(name, "its role is given by a table or the user")
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
    """The series without scouts of one or two slices, unless none of their weighting shows more of the same places."""
    kept: list[Stack] = []
    remnants: list[SeriesDecision] = []
    for stack in stacks:
        if not stack.is_role_given and any(_shows_more(other, stack) for other in stacks):
            remnants.append(stack.decision(None, f"only {len(stack.headers)} slices, another series has more"))
        else:
            kept.append(stack)
    return kept, remnants


def _shows_more(other: Stack, few: Stack) -> bool:
    """Whether a series makes one of a slice or two a remnant; weightings that are not known yet may be the same."""
    if len(few.headers) >= MIN_SLICES or len(other.headers) < MIN_SLICES or few.plane is not other.plane:
        return False
    names = {few.weighting.name, other.weighting.name}
    reach = max(SHARED_PLACE_MM, 0.75 * step_mm(other.headers))  # any place between its slices
    return (len(names) == 1 or None in names) and shows_places_of(few.headers, other.headers, reach_mm=reach)


def _name(plane: Plane | None) -> str:
    return plane.value if plane else "in several planes"
