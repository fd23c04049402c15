"""Posterior disc margins from what packs mark instead: centres of discs, or masks of discs and canal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lumbar_kernel.geometry import posterior_direction
from lumbar_kernel.localisation.landmarks import disc_normals
from lumbar_kernel.schema import LEVELS

HALF_DISC_OF_STEP = 0.48
"""Distance from the centre of a disc to its posterior margin, as a fraction of the step between discs: 16 of 34 mm."""

MIN_DISC = 0.0008
"""Fraction of a picture's area; smaller pieces of a mask are not discs."""


def margins_behind(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Posterior margins of five discs from their centres, (5, 2) row and column each."""
    in_patient = np.stack([np.zeros(len(centres)), centres[:, 1], -centres[:, 0]], axis=1)
    normal = disc_normals(in_patient)
    step = np.linalg.norm(np.diff(centres, axis=0), axis=1).mean()
    moved = in_patient + HALF_DISC_OF_STEP * step * posterior_direction(normal)
    return np.stack([-moved[:, 2], moved[:, 1]], axis=1)


def disc_margins(masks: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Posterior margins of a patient's five lowest discs, (slices, 5, 2) row and column, NaN without canal behind.

    Args:
        masks: (slices, rows, columns) neighbouring slices of a SPIDER mask: 1 disc, 3 spinal canal.
    """
    marked = masks == 1
    discs, count = ndimage.label(marked)
    margins = np.full((len(masks), len(LEVELS), 2), np.nan)
    if not count:
        return margins
    smallest = MIN_DISC * masks[0].size
    indices = np.arange(1, count + 1)
    volumes = ndimage.sum_labels(marked, discs, indices)
    height = np.array([place[1] for place in ndimage.center_of_mass(marked, discs, indices)])
    whole = indices[volumes > smallest]
    lowest = sorted(whole, key=lambda k: -height[k - 1])[: len(LEVELS)]
    if len(lowest) < len(LEVELS):
        return margins
    reach = round(0.06 * masks.shape[2])
    for number, (mask, labels) in enumerate(zip(masks, discs, strict=True)):
        for position, k in enumerate(lowest):
            rows, columns = np.nonzero(labels == k)
            if len(rows) < smallest:
                continue
            row, column = rows[columns >= columns.max() - 1].mean(), float(columns.max())
            behind = mask[round(row), round(column) : round(column) + reach]
            if (behind == 3).sum() > reach // 5:
                margins[number, -1 - position] = row, column
    return margins
