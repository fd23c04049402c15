"""Which slices show a point, and which lie beside one another in a stack."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import CRANIAL, LEFT
from lumbar_kernel.study import Slice

MIN_NEIGHBOUR_COSINE = float(np.cos(np.radians(5)))
"""Cosine of the largest angle between neighbouring slices of one block."""

NEIGHBOUR_GAP_MM = (0.5, 12.0)
"""Range of the distance between neighbouring slices; anything nearer is the same slice once more."""

SAGITTAL_CAP_MM = 10.0
"""A foramen or canal whose nearest sagittal slice is farther away was not scanned: usual steps are 4 to 5 mm."""

AXIAL_CAP_MM = 10.0
"""A level whose nearest axial slice is farther away was not scanned."""

TILT_COST_MM = 0.12
"""Millimetres equivalent to one degree between slice and disc, so that a block aligned with the disc is preferred."""


def stack_around(
    slices: Sequence[Slice], item: Slice, *, count: int, others: Sequence[Slice] = ()
) -> tuple[Slice | None, ...]:
    """The stack of `count` slices around one, an odd number, from its own block; None where a slice is missing.

    The order follows the patient: caudal or right slices come first.

    Args:
        slices: of the series of `item`, in any order, with or without it.
        item: the middle of the stack.
        count: slices of the stack.
        others: slices of other series, which continue the stack where its own series ends.
    """
    # A normal may point either way along its axis; the order follows the patient, not the file. Axial slices at L5/S1
    # may be tilted by up to 50 degrees, so that they lie nearer to coronal ones, which no series has.
    along = item.plane.normal @ np.stack([LEFT, CRANIAL], axis=1)
    sense = float(np.copysign(1.0, along[np.argmax(np.abs(along))]))
    pools = [_by_position(pool, item, sense) for pool in (slices, others)]
    half = count // 2
    stack: list[Slice | None] = [item]
    for direction in (-1, 1):
        reached, found = 0.0, []
        for _ in range(half):
            following = next(filter(None, (_next(pool, direction, reached) for pool in pools)), None)
            if following is None:
                break
            reached, neighbour = following
            found.append(neighbour)
        padded = [*found, *[None] * (half - len(found))]
        stack = [*padded[::-1], *stack] if direction < 0 else [*stack, *padded]
    return tuple(stack)


def _by_position(slices: Sequence[Slice], item: Slice, sense: float) -> list[tuple[float, Slice]]:
    """The slices parallel to one, each with its position in mm along the patient, that one's being zero."""
    return [
        (sense * float(item.plane.distance(other.plane.centre)), other)
        for other in slices
        if other is not item and abs(float(other.plane.normal @ item.plane.normal)) >= MIN_NEIGHBOUR_COSINE
    ]


def _next(positions: Sequence[tuple[float, Slice]], direction: int, reached: float) -> tuple[float, Slice] | None:
    """The nearest slice beyond so many mm in one direction, with its distance; None where the block ends."""
    low, high = (reached + gap for gap in NEIGHBOUR_GAP_MM)
    beyond = [(direction * place, other) for place, other in positions if low < direction * place < high]
    return min(beyond, key=lambda found: found[0], default=None)


def sagittal_showing(slices: Sequence[Slice], point_mm: FloatArray) -> Slice | None:
    """The nearest slice within `SAGITTAL_CAP_MM` whose frame contains a point, None where there is none.

    A blank one is chosen only where all of them are blank.
    """
    apart = [abs(float(item.plane.distance(point_mm))) for item in slices]
    near = [slices[index] for index in np.argsort(apart, kind="stable") if apart[index] <= SAGITTAL_CAP_MM]
    showing = [item for item in near if item.plane.shows(point_mm)]
    return next((item for item in showing if not item.is_blank), showing[0] if showing else None)


def nearest_sagittal(slices: Sequence[Slice], point_mm: FloatArray) -> Slice:
    """The slice whose plane passes nearest to a point."""
    return min(slices, key=lambda item: abs(float(item.plane.distance(point_mm))))


def axial_showing(slices: Sequence[Slice], point_mm: FloatArray, *, normal: FloatArray) -> Slice | None:
    """The slice that shows a point of a disc with this normal best, None when all are too far away or miss it."""
    best, lowest = None, np.inf
    for item in slices:
        plane = item.plane
        distance = abs(float(plane.distance(point_mm)))
        if distance > AXIAL_CAP_MM or not plane.shows(point_mm, margin=4):
            continue
        tilt = np.degrees(np.arccos(min(1.0, abs(float(plane.normal @ normal)))))
        cost = distance + TILT_COST_MM * tilt
        if cost < lowest:
            best, lowest = item, cost
    return best
