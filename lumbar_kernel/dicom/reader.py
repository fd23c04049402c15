"""Files of a study → `Study`: which series plays which role, from the descriptions table, the headers or the pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.dicom.headers import SliceHeader, read_headers
from lumbar_kernel.dicom.ordering import ordered, without_duplicates
from lumbar_kernel.dicom.pixels import read_frames
from lumbar_kernel.dicom.roles import (
    MIN_SLICES,
    T2,
    main_plane,
    main_weighting,
    plane_for,
    role_for,
    weighting_of_role,
    weightings_by_pixels,
)
from lumbar_kernel.dicom.safe_open import refusal
from lumbar_kernel.errors import DicomError
from lumbar_kernel.geometry import Plane, plane_of
from lumbar_kernel.study import Series, SeriesFiles, Slice, Study, StudyFiles

STUDY_LIMIT = 1 << 28
"""Most pixels of a study, a gigabyte in float32; 250 slices of 1024 × 1024."""


@dataclass(frozen=True, eq=False)
class _Stack:
    """Headers of one series, in order, with its role as far as headers determine it, and the copies of each slice."""

    series_id: str
    plane: Plane
    headers: tuple[SliceHeader, ...]
    weighting: str | None
    from_table: bool
    copies: Mapping[SliceHeader, list[SliceHeader]]


def read_study(files: StudyFiles) -> Study:
    """Read and sort the series of a study and find their roles; what cannot be used is reported in `problems`.

    Broken files are skipped. A study without any usable series has `series=()`.
    """
    problems: list[str] = []
    stacks = [stack for series in files.series for stack in _stacks(series, problems)]
    stacks = _without_remnants(stacks, problems)
    to_decode = _within_limit([header for stack in stacks for header in stack.headers], problems)
    pixels = _decode(to_decode, problems)
    copies = {header: same for stack in stacks for header, same in stack.copies.items()}
    _decode_copies([header for header in to_decode if header not in pixels], copies, pixels, problems)
    series = [tuple(_slice(header, pixels[header]) for header in stack.headers if header in pixels) for stack in stacks]
    for stack, slices in zip(stacks, series, strict=True):
        if not slices:
            problems.append(f"series {stack.series_id}: none of its {len(stack.headers)} slices could be decoded")
    filled = [(stack, slices) for stack, slices in zip(stacks, series, strict=True) if slices]
    return Study(files.study_id, _with_roles(filled), tuple(problems))


def _stacks(series: SeriesFiles, problems: list[str]) -> list[_Stack]:
    """The series of one folder that may play a role: one, or several where a folder without role mixes them."""
    headers: list[SliceHeader] = []
    for path in series.paths:
        try:
            headers += read_headers(path)
        except DicomError as error:
            problems.append(str(error))
    uids = list(dict.fromkeys(header.series_uid for header in headers))
    if series.role is not None or len(uids) < 2:
        stack = _stack(series.series_id, series.role, headers, problems) if headers else None
        return [stack] if stack else []
    mixed = [(uid, [header for header in headers if header.series_uid == uid]) for uid in uids]
    stacks = [_stack(uid or series.series_id, None, members, problems) for uid, members in mixed]
    return [stack for stack in stacks if stack]


def _stack(series_id: str, role: str | None, headers: list[SliceHeader], problems: list[str]) -> _Stack | None:
    """One series with its plane, None (and a problem) when it fits no role."""
    plane = main_plane(headers)
    if role is not None and plane not in (None, plane_for(role)):
        problems.append(
            f"series {series_id}: the table says {role} but its slices are {_name(plane)}; geometry decides"
        )
        role = None
    elif role is not None:
        plane = plane_for(role)
    weighting = weighting_of_role(role) if role else main_weighting(headers)
    if plane in (None, Plane.CORONAL) or (weighting is not None and role_for(plane, weighting) is None):
        what = f"{_name(plane)} slices, weighting {weighting or 'unknown'}"
        problems.append(f"series {series_id}: {what} ({headers[0].series_description!r}), no role wants it")
        return None
    return _sorted_stack(series_id, plane, headers, weighting, from_table=role is not None, problems=problems)


def _sorted_stack(
    series_id: str,
    plane: Plane,
    headers: list[SliceHeader],
    weighting: str | None,
    *,
    from_table: bool,
    problems: list[str],
) -> _Stack | None:
    fitting = [header for header in headers if plane_of(header.plane.normal) is plane]
    if len(fitting) < len(headers):
        problems.append(f"series {series_id}: {len(headers) - len(fitting)} slices are not {plane.value}, left out")
    copies = without_duplicates(fitting)
    if repeated := sum(map(len, copies.values())):
        problems.append(f"series {series_id}: {repeated} slices repeat the place of another one, left out")
    return _Stack(series_id, plane, ordered([*copies], plane), weighting, from_table, copies) if copies else None


def _without_remnants(stacks: list[_Stack], problems: list[str]) -> list[_Stack]:
    """The series without scouts of one or two slices, unless no larger series lies in their plane."""
    fullest = {plane: max(len(stack.headers) for stack in stacks if stack.plane is plane) for plane in _planes(stacks)}
    kept = []
    for stack in stacks:
        if stack.from_table or len(stack.headers) >= MIN_SLICES or fullest[stack.plane] < MIN_SLICES:
            kept.append(stack)
        else:
            problems.append(f"series {stack.series_id}: only {len(stack.headers)} slices, another series has more")
    return kept


def _planes(stacks: list[_Stack]) -> set[Plane]:
    return {stack.plane for stack in stacks}


def _within_limit(headers: list[SliceHeader], problems: list[str]) -> list[SliceHeader]:
    """The slices that fit the memory limit of a study; the largest are dropped first."""
    total, too_many = 0, set()
    for header in sorted(headers, key=lambda header: math.prod(header.plane.shape)):
        total += math.prod(header.plane.shape)
        if total > STUDY_LIMIT:
            too_many.add(header)
    for path in dict.fromkeys(header.path for header in headers if header in too_many):
        problems.append(str(refusal(path, f"left out, the study has more than {STUDY_LIMIT} pixels")))
    return [header for header in headers if header not in too_many]


def _decode(headers: list[SliceHeader], problems: list[str]) -> dict[SliceHeader, NDArray[np.float32]]:
    """Pixels by header, every file decoded once; files that fail are reported and left out."""
    by_file: dict[Path, list[SliceHeader]] = {}
    for header in headers:
        by_file.setdefault(header.path, []).append(header)
    pixels: dict[SliceHeader, NDArray[np.float32]] = {}
    for frames in by_file.values():
        try:
            pixels.update(zip(frames, read_frames(frames), strict=True))
        except DicomError as error:
            problems.append(str(error))
    return pixels


def _decode_copies(
    failed: Sequence[SliceHeader],
    copies: Mapping[SliceHeader, Sequence[SliceHeader]],
    pixels: dict[SliceHeader, NDArray[np.float32]],
    problems: list[str],
) -> None:
    """Give slices that could not be decoded the pixels of an intact copy of the same matrix, where there is one."""
    fitting = {header: [item for item in copies[header] if item.plane.shape == header.plane.shape] for header in failed}
    while waiting := {header: same.pop(0) for header, same in fitting.items() if same and header not in pixels}:
        decoded = _decode([*waiting.values()], problems)
        for header, copy in waiting.items():
            if copy in decoded:
                pixels[header] = decoded[copy]
                problems.append(str(refusal(header.path, f"its copy {copy.path.name} is read instead")))


def _with_roles(filled: list[tuple[_Stack, tuple[Slice, ...]]]) -> tuple[Series, ...]:
    """Series with their roles; sagittal ones without informative headers are distinguished by their pixels."""
    sagittal = [(stack, slices) for stack, slices in filled if stack.plane is Plane.SAGITTAL]
    weightings = {stack: stack.weighting for stack, _ in filled}
    if any(stack.weighting is None for stack, _ in sagittal):
        seen = weightings_by_pixels(
            [slices for _, slices in sagittal], known=[stack.weighting for stack, _ in sagittal]
        )
        weightings.update(zip((stack for stack, _ in sagittal), seen, strict=True))
    # an axial series without any hint counts as T2: the challenge has no other and protocols rarely do
    roles = [role_for(stack.plane, weightings[stack] or T2) for stack, _ in filled]
    return tuple(
        Series(stack.series_id, role, slices) for (stack, slices), role in zip(filled, roles, strict=True) if role
    )


def _slice(header: SliceHeader, pixels: NDArray[np.float32]) -> Slice:
    return Slice(header.plane, pixels, header.instance_number)


def _name(plane: Plane | None) -> str:
    return plane.value if plane else "in several planes"
