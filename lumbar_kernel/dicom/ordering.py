"""Slices of one series in anatomical order, tilted blocks kept together, and how far slices lie from one another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.dicom.headers import SliceHeader
from lumbar_kernel.geometry import CRANIAL, LEFT, Plane, unit

PARALLEL = float(np.cos(np.radians(5)))
"""Cosine of the largest angle between slices that may show the same place."""

BLOCK_DEGREES = 3.0
"""Slices whose normals differ by less belong to one block; blocks at neighbouring discs mostly differ by 5 or more."""

SAME_PLACE_MM = 0.05
"""Slices with closer origins and equal tilt are the same slice stored twice; real neighbours are millimetres apart."""


def ordered(headers: Sequence[SliceHeader], plane: Plane) -> tuple[SliceHeader, ...]:
    """The slices of a series by position; instance numbers are ignored.

    Sagittal slices run along rising x (patient right to left). Axial ones form blocks of equal tilt, the blocks by
    their mean height and the slices of each along its normal, all rising towards the head.
    """
    axis = CRANIAL if plane is Plane.AXIAL else LEFT
    groups = _blocks(headers, axis) if plane is Plane.AXIAL else [list(headers)]
    groups.sort(key=lambda group: float(np.mean([header.plane.centre @ axis for header in group])))
    return tuple(header for group in groups for header in _sorted_block(group, axis))


def _blocks(headers: Sequence[SliceHeader], axis: FloatArray) -> list[list[SliceHeader]]:
    """The slices grouped by tilt, at most `BLOCK_DEGREES` from the first of their block."""
    by_height = sorted(headers, key=lambda header: (header.plane.centre @ axis, *_instance(header)))
    groups: list[list[SliceHeader]] = []
    for header in by_height:
        normal = _facing(header, axis)
        degrees = [_degrees(normal, _facing(group[0], axis)) for group in groups]
        if min(degrees, default=BLOCK_DEGREES) < BLOCK_DEGREES:
            groups[degrees.index(min(degrees))].append(header)
        else:
            groups.append([header])
    return groups


def without_duplicates(headers: Sequence[SliceHeader]) -> dict[SliceHeader, list[SliceHeader]]:
    """The slices, each with those at its position, which have higher instance numbers and stand in where it fails."""
    kept: dict[SliceHeader, list[SliceHeader]] = {}
    first: list[SliceHeader] = []
    origins = np.empty((len(headers), 3))  # of the first ones, compared at once: a volume may have a thousand slices
    for header in sorted(headers, key=_instance):
        apart: NDArray[np.float64] = np.abs(origins[: len(first)] - header.plane.origin).max(axis=1)
        near = (first[place] for place in np.flatnonzero(apart <= SAME_PLACE_MM))
        same = next((other for other in near if _same_tilt(header, other)), None)
        if same is None:
            origins[len(first)] = header.plane.origin
            first.append(header)
            kept[header] = []
        else:
            kept[same].append(header)
    return kept


def distances(headers: Sequence[SliceHeader], others: Sequence[SliceHeader]) -> Iterator[tuple[FloatArray, FloatArray]]:
    """For each slice how far it lies from each of others, mm, along their normals and within their planes.

    Along the normal of a slice that is not about parallel the distance is infinite.
    """
    normals = np.array([other.plane.normal for other in others])
    centres = np.array([other.plane.centre for other in others])
    for header in headers:
        apart = header.plane.centre - centres
        along = np.sum(apart * normals, axis=1)
        within = np.linalg.norm(apart - along[:, None] * normals, axis=1)
        parallel = np.abs(normals @ header.plane.normal) >= PARALLEL
        yield np.where(parallel, np.abs(along), np.inf), within


def _sorted_block(group: Sequence[SliceHeader], axis: FloatArray) -> list[SliceHeader]:
    direction = unit(np.mean([_facing(header, axis) for header in group], axis=0))
    return sorted(group, key=lambda header: (header.plane.centre @ direction, *_instance(header)))


def _facing(header: SliceHeader, axis: FloatArray) -> FloatArray:
    """The normal of a slice, turned to the side that the axis points to."""
    normal = header.plane.normal
    return normal if normal @ axis >= 0 else -normal


def _degrees(one: FloatArray, other: FloatArray) -> float:
    return float(np.degrees(np.arccos(np.clip(one @ other, -1.0, 1.0))))


def _same_tilt(one: SliceHeader, other: SliceHeader) -> bool:
    return _degrees(one.plane.normal, other.plane.normal) < BLOCK_DEGREES


def _instance(header: SliceHeader) -> tuple[float, str, int]:
    """Sort key: instance number, those without one last, then file and frame so that ties never depend on the disk."""
    number = float("inf") if header.instance_number is None else float(header.instance_number)
    return number, str(header.path), header.frame or 0
