"""Sagittal volumes of thin slices (SPACE, CUBE, VISTA), recognised by headers and averaged to usual thickness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lumbar_kernel.dicom.headers import SliceHeader
from lumbar_kernel.dicom.selection import Choice
from lumbar_kernel.dicom.stacks import Stack, step_mm, steps_mm
from lumbar_kernel.geometry import LEFT, Plane, SlicePlane
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T2
from lumbar_kernel.study import REFORMATTED, SeriesDecision, Slice

THIN_MM = 1.5
"""Largest step of a volume; slices of two-dimensional series are at least 2 mm apart."""

THIN_SHARE = 0.9
"""Share of the steps that must be as thin. Of usual slices scanned twice, a little apart, every second step is."""

MIN_SLICES = 24

MIN_WIDTH_MM = 50.0
"""From side to side, below which a reformatted axial slice would not hold both recesses with what lies beside them."""

SLAB_MM = 4.0
"""Thickness to which thin slices are averaged; networks learnt from steps of 3.9 to 5 mm."""

TOLERANCE_PIXELS = 0.5
"""Largest shift within the plane between slices of a volume."""


def is_volume(headers: Sequence[SliceHeader]) -> bool:
    """Whether slices, in order, are parallel, congruent and, but for a few gaps, at most `THIN_MM` apart."""
    if len(headers) < MIN_SLICES or not step_mm(headers) or np.quantile(steps_mm(headers), THIN_SHARE) > THIN_MM:
        return False
    planes = [header.plane for header in headers]
    return all(_congruent(planes[0], plane) for plane in planes[1:])


def _congruent(one: SlicePlane, other: SlicePlane) -> bool:
    directions = np.stack([one.row_direction - other.row_direction, one.column_direction - other.column_direction])
    spacings = one.row_spacing - other.row_spacing, one.column_spacing - other.column_spacing
    if one.shape != other.shape or np.abs(directions).max() > 1e-3 or np.abs(spacings).max() > 1e-3:
        return False
    return float(np.abs(one.to_pixel(other.origin)).max()) <= TOLERANCE_PIXELS


def source_of_axials(choices: Sequence[Choice]) -> Stack | None:
    """The sagittal T2 volume from which axial slices can be reformatted; None with an axial series or without a volume.

    A volume that is read comes before one that another series outranks.
    """
    if any(choice.read and choice.role == AXIAL_T2 for choice in choices):
        return None
    sagittal = sorted((item for item in choices if item.role == SAGITTAL_T2), key=lambda item: not item.read)
    bottom = min((item.stack.middle.plane.heights[0] for item in sagittal if item.read), default=0.0)
    for choice in sagittal:
        stack = choice.stack
        across = [float(header.plane.centre @ LEFT) for header in stack.headers]
        low, high = stack.middle.plane.heights
        at_lumbar_height = choice.read or abs(low - bottom) < (high - low) / 2
        if is_volume(stack.headers) and np.ptp(across) >= MIN_WIDTH_MM and at_lumbar_height:
            return stack
    return None


def reformatted_decision(stack: Stack) -> SeriesDecision:
    """What is reported of the axial slices that are reformatted from a volume."""
    step = step_mm(stack.headers)
    reason = f"reformatted at the disc levels from sagittal series {stack.series_id}, steps of {step:.1f} mm"
    description = stack.middle.series_description
    return SeriesDecision(f"{stack.series_id}{REFORMATTED}", AXIAL_T2, reason, description=description)


def is_averaged(stack: Stack) -> bool:
    """Whether the slices of a series are averaged before they are used."""
    return stack.plane is Plane.SAGITTAL and is_volume(stack.headers)


def slabs(stack: Stack, slices: Sequence[Slice]) -> tuple[Slice, ...]:
    """The slices of a sagittal volume averaged to about `SLAB_MM`, each with the number of its middle slice.

    The slices of any other series are returned as they are, and so are those of which no slab is left. A slab is left
    out where half of its thickness or more is missing, at either end and where slices in between cannot be read.
    """
    if not slices or not is_averaged(stack):
        return tuple(slices)
    step = step_mm(stack.headers)
    count = max(1, round(SLAB_MM / step))
    places = [round(abs(float(slices[0].plane.distance(item.plane.origin))) / step) for item in slices]
    first = (places[-1] + 1) % count // 2  # what remains at the ends is shared between them
    groups: dict[int, list[Slice]] = {}
    for item, place in zip(slices, places, strict=True):
        groups.setdefault((place - first) // count, []).append(item)
    kept = [group for number, group in groups.items() if number >= 0 and 2 * len(group) > count]
    return tuple(map(_averaged, kept)) or tuple(slices)


def _averaged(group: Sequence[Slice]) -> Slice:
    origin = np.mean([item.plane.origin for item in group], axis=0)
    middle = group[len(group) // 2]
    pixels = np.mean([item.pixels for item in group], axis=0)
    return replace(middle, plane=replace(middle.plane, origin=origin), pixels=np.asarray(pixels, dtype=np.float32))
