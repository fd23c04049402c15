"""Single pictures of the packs as slices of a patient, and the kernel's own localisation on sagittal ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.errors import LocalisationError
from lumbar_kernel.geometry import CRANIAL, LEFT, POSTERIOR, SlicePlane
from lumbar_kernel.grading.ensemble import SURE
from lumbar_kernel.grids import centred_grid
from lumbar_kernel.localisation.level_decoding import STEP_MM, decode_levels, gather
from lumbar_kernel.localisation.slice_maps import SliceMaps, slice_maps
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.study import Slice

FIELD_MM = 280.0
"""Assumed longer side of a sagittal field of view; the second decoding corrects it by the measured steps."""

BATCH = 64


def sagittal_slice(picture: NDArray[np.uint8], *, rows: float, columns: float, field_mm: float = FIELD_MM) -> Slice:
    """A picture as a sagittal slice through the patient's middle, anterior at its left.

    Args:
        picture: grey pixels of any size.
        rows: height of the original in square pixels, so that a squashed picture gets its shape back.
        columns: width of the original.
        field_mm: length of the longer side.
    """
    mm = field_mm / max(rows, columns)
    plane = SlicePlane(
        origin=np.zeros(3),
        row_direction=POSTERIOR,
        column_direction=-CRANIAL,
        row_spacing=mm * rows / picture.shape[0],
        column_spacing=mm * columns / picture.shape[1],
        shape=(picture.shape[0], picture.shape[1]),
    )
    return Slice(plane=plane, pixels=picture.astype(np.float32), instance_number=None)


def axial_slice(picture: NDArray[np.uint8], *, mm: float, cranial: float = 0.0) -> Slice:
    """A picture as an axial slice around the patient's origin.

    Args:
        picture: grey pixels.
        mm: width of a pixel.
        cranial: mm above the origin.
    """
    rows, columns = picture.shape
    plane = centred_grid(cranial * CRANIAL, down=POSTERIOR, right=LEFT, spacing=mm, shape=(rows, columns))
    return Slice(plane=plane, pixels=picture.astype(np.float32), instance_number=None)


@dataclass(frozen=True, eq=False)
class Levels:
    """The five levels found on one picture, or on several of one series.

    Attributes:
        points: (5, 2) row and column, relative to the picture.
        lateral: (5,) mm to the left of the patient's middle.
        evidence: (5,) of each level, 0..1.
        step_mm: mean distance of neighbouring levels that are both visible, in the millimetres of the slice; None
            when there is no such pair.
    """

    points: NDArray[np.float64]
    lateral: NDArray[np.float64]
    evidence: NDArray[np.float64]
    step_mm: float | None


def levels_on(slices: Sequence[Slice], nets: Sequence[HeatmapNet], *, channels: range) -> list[Levels | None]:
    """The five levels on each slice by itself; None where no plausible row of levels is found.

    Args:
        slices: from `sagittal_slice`.
        nets: localisers.
        channels: landmarks of the network that are decoded: disc margins, or foramina on a lateral slice.
    """
    found: list[Levels | None] = []
    for start in range(0, len(slices), BATCH):
        block = slices[start : start + BATCH]
        found += [levels_of([maps], item, channels) for item, maps in zip(block, slice_maps(block, nets), strict=True)]
    return found


def levels_of(maps: Sequence[SliceMaps], item: Slice, channels: range) -> Levels | None:
    """The five levels on the slices of some maps together; None where no plausible row of levels is found.

    They are decoded twice: in the assumed field of view, then in the one that gives the mean step its usual length.

    Args:
        maps: of slices that differ in their lateral position only.
        item: one of the slices, for whose picture the points are given.
        channels: as in `levels_on`.
    """
    try:
        points, evidence = decode_levels(gather(maps, channels=channels))
        step = _visible_step(points, evidence)
        if step is not None:
            scale = STEP_MM / step
            points, evidence = decode_levels(gather([_scaled(own, scale) for own in maps], channels=channels))
            points = points / scale
            step = _visible_step(points, evidence)
    except LocalisationError:
        return None
    relative = (item.plane.to_pixel(points) + 0.5) / np.array(item.plane.shape)
    return Levels(relative, points @ LEFT, evidence, step)


def _visible_step(points: NDArray[np.float64], evidence: NDArray[np.float64]) -> float | None:
    """Mean step between neighbours that are both visible rather than bridged."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    seen = (evidence[:-1] > SURE) & (evidence[1:] > SURE)
    return float(steps[seen].mean()) if seen.any() else None


def _scaled(maps: SliceMaps, scale: float) -> SliceMaps:
    """The same maps on a slice that is larger by a factor."""
    grid = maps.grid
    spacing = grid.row_spacing * scale
    return SliceMaps(replace(grid, origin=grid.origin * scale, row_spacing=spacing, column_spacing=spacing), maps.maps)
