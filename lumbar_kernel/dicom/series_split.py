"""The slices that an archive calls one series → the acquisitions in it, separated as dcm2niix does.

Some archives give one SeriesInstanceUID to a whole study, none at all, or another one to each file. Without a table
that names the series, its slices are divided by UID, description and orientation, and by matrix and EchoTime where
parts show the same places. A header or two that differ divide nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from lumbar_kernel.dicom.headers import SliceHeader
from lumbar_kernel.dicom.ordering import distances
from lumbar_kernel.dicom.persons import MAX_SCOUT, MIN_ALONE
from lumbar_kernel.geometry import plane_of

Part = tuple[str, list[SliceHeader]]
"""A label and slices; the label is empty for all slices together."""

MIN_SLICES_APART = 3
"""Fewer slices divide no series."""

SAME_ORIENTATION = float(np.cos(np.radians(30)))
"""Cosine of the largest step of tilt within a stack; axial blocks follow the discs in steps of up to 20 degrees."""

MAX_ORIENTATIONS = 1000
"""Directions that are compared with each other."""

SHARED_PLACE_MM, SHARED_PLACES = 2.0, 0.5
"""Distance along the normal, and share of its slices, from which on a part shows the places of another one."""


def acquisitions(series_id: str, headers: Sequence[SliceHeader]) -> list[Part]:
    """The acquisitions of a series as pairs of a series id and slices, in the order of their first slices."""
    by_uid = _grouped(headers, lambda header: header.series_uid)
    parts = [(str(uid or series_id) if len(by_uid) > 1 else series_id, members) for uid, members in by_uid.items()]
    for divide in (_by_description, _by_orientation, _by_matrix_and_echo):
        parts = [(f"{name} {own}".rstrip(), group) for name, members in parts for own, group in divide(members)]
    names, numbers = Counter(name for name, _ in parts), Counter[str]()
    for place, (name, group) in enumerate(parts):
        if names[name] > 1:
            numbers[name] += 1
            parts[place] = f"{name} {numbers[name]}", group
    return parts


def _by_description(headers: list[SliceHeader]) -> list[Part]:
    return _divided(
        headers, lambda header: (header.series_description, header.series_number), lambda *_: True, _described
    )


def _described(header: SliceHeader) -> str:
    return header.series_description or f"number {header.series_number}"


def _by_matrix_and_echo(headers: list[SliceHeader]) -> list[Part]:
    """Blocks of one series may differ in matrix, so that only parts that show the same places count as two."""
    return _divided(headers, _matrix_and_echo, shows_places_of, _named_by_matrix)


def _matrix_and_echo(header: SliceHeader) -> Hashable:
    plane, echo = header.plane, header.echo_time
    spacing = round(plane.row_spacing, 2), round(plane.column_spacing, 2)
    return plane.shape, spacing, None if echo is None else round(echo)


def _named_by_matrix(header: SliceHeader) -> str:
    rows, columns = header.plane.shape
    return f"{rows}×{columns}" + ("" if header.echo_time is None else f" EchoTime {header.echo_time:.0f}")


def _by_orientation(headers: list[SliceHeader]) -> list[Part]:
    """The slices by direction, those of a stack whose tilt changes from block to block kept together.

    A scout in several planes is left whole, and refused as such.
    """
    rounded = np.round([header.plane.normal for header in headers], 2)
    normals, of_header = np.unique(rounded, axis=0, return_inverse=True)
    if len(normals) > MAX_ORIENTATIONS:
        return [("", headers)]
    near = np.abs(normals @ normals.T) > SAME_ORIENTATION
    group_of = np.arange(len(normals))
    for place in range(len(normals)):
        joined = np.unique(group_of[near[place]])
        group_of[np.isin(group_of, joined)] = joined[0]
    groups: dict[int, list[SliceHeader]] = {}
    for header, group in zip(headers, group_of[of_header.reshape(-1)].tolist(), strict=True):
        groups.setdefault(group, []).append(header)
    if len(groups) < 2 or max(map(len, groups.values())) <= MAX_SCOUT:
        return [("", headers)]
    return [(_plane_name(members), members) for members in groups.values()]


def _plane_name(headers: Sequence[SliceHeader]) -> str:
    plane = plane_of(headers[len(headers) // 2].plane.normal)
    return plane.value if plane else "oblique"


def _divided(
    headers: list[SliceHeader],
    value_of: Callable[[SliceHeader], Hashable],
    is_apart: Callable[[list[SliceHeader], list[SliceHeader]], bool],
    name_of: Callable[[SliceHeader], str],
) -> list[Part]:
    """The slices by a value, in order; groups that are small or not apart from the largest one join it."""
    groups = _grouped(headers, value_of)
    largest = max(groups.values(), key=len)
    part_of: dict[SliceHeader, int] = {}
    for number, members in enumerate(groups.values(), start=1):
        if members is not largest and len(members) >= MIN_SLICES_APART and is_apart(members, largest):
            part_of.update((header, number) for header in members)
    parts: dict[int, list[SliceHeader]] = {}
    for header in headers:
        parts.setdefault(part_of.get(header, 0), []).append(header)
    return [(name_of(members[0]) if len(parts) > 1 else "", members) for members in parts.values()]


def _grouped(
    headers: Sequence[SliceHeader], value_of: Callable[[SliceHeader], Hashable]
) -> dict[Hashable, list[SliceHeader]]:
    """The slices by a value; classic slices that all stand alone in theirs are one group, with the value None."""
    groups: dict[Hashable, list[SliceHeader]] = {}
    for header in headers:
        groups.setdefault(value_of(header), []).append(header)
    alone = [value for value, members in groups.items() if len(members) == 1 and members[0].frame is None]
    if len(alone) >= MIN_ALONE:
        groups[None] = [groups.pop(value)[0] for value in alone]
    return groups


def shows_places_of(
    part: Sequence[SliceHeader], other: Sequence[SliceHeader], *, reach_mm: float = SHARED_PLACE_MM
) -> bool:
    """Whether enough slices of a part lie in the plane of a slice of the other one, and show the same part of it."""
    shared = [
        bool(np.any((along < reach_mm) & (within < min(header.plane.extent_mm) / 2)))
        for header, (along, within) in zip(part, distances(part, other), strict=True)
    ]
    return sum(shared) >= SHARED_PLACES * len(part)
