"""Single pictures of the packs as one-slice studies, and the kernel's own localising on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.chain import STEP_MM, decode_chain, gather
from lumbar_kernel.errors import LocalisationError
from lumbar_kernel.geometry import CRANIAL, POSTERIOR, SlicePlane
from lumbar_kernel.heatmaps import HeatmapNet
from lumbar_kernel.localise import SliceMaps, slice_maps
from lumbar_kernel.study import Slice

FIELD_MM = 280.0
"""Assumed longer side of a sagittal field of view; the second decoding of a picture corrects it by the steps found."""

BATCH = 64


def sagittal_slice(picture: NDArray[np.uint8], *, rows: float, columns: float, field_mm: float = FIELD_MM) -> Slice:
    """A picture as a sagittal slice in the patient, anterior at its left.

    Args:
        picture: grey pixels, of whatever size.
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


def levels_on(
    slices: Sequence[Slice], nets: Sequence[HeatmapNet], *, channels: range
) -> list[NDArray[np.float64] | None]:
    """The five levels on each slice by itself, (5, 2) relative row and column; None where no chain can be seen.

    Args:
        slices: from `sagittal_slice`.
        nets: localisers.
        channels: landmarks of the net that make the chain: disc margins, or foramina on a lateral slice.
    """
    found: list[NDArray[np.float64] | None] = []
    for start in range(0, len(slices), BATCH):
        block = slices[start : start + BATCH]
        for item, maps in zip(block, slice_maps(block, nets), strict=True):
            points = _chain(maps, channels)
            if points is None:
                found.append(None)
                continue
            found.append((item.plane.to_pixel(points) + 0.5) / np.array(item.plane.shape))
    return found


def _chain(maps: SliceMaps, channels: range) -> NDArray[np.float64] | None:
    """Decoded points (5, 3): once in the assumed field of view, again in the one that makes the mean step usual."""
    try:
        points, _ = decode_chain(gather([maps], channels=channels))
        scale = STEP_MM / float(np.linalg.norm(np.diff(points, axis=0), axis=1).mean())
        grid = maps.grid
        rescaled = type(grid)(grid.corner * scale, grid.down, grid.right, grid.spacing * scale, grid.shape)
        points, _ = decode_chain(gather([SliceMaps(rescaled, maps.maps)], channels=channels))
    except LocalisationError:
        return None
    return points / scale
