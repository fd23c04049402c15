"""Whether sagittal slices show enough above and below five levels for these to be counted: else all may be one off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import CRANIAL
from lumbar_kernel.schema import LEVEL_NAMES
from lumbar_kernel.study import Slice

MIN_BELOW, MIN_ABOVE = 0.8, 0.6
"""Least room below L5/S1 and above L1/L2, in steps between discs. In 2,032 pictures of 734 patients (SPIDER, Sudirman,
Tianchi) no room is smaller than 1.20 and 1.09 steps; frames that were cut at L5/S1 had all levels one off."""


def doubt_of_count(slices: Sequence[Slice], margin: FloatArray) -> str | None:
    """A sentence where the slices end near the outer levels, so that these may be others; None where they do not.

    Args:
        slices: sagittal ones of all series.
        margin: (5, 3) posterior disc margins, L1/L2 first, mm LPS.
    """
    height = margin @ CRANIAL
    step = float(-np.diff(height).mean())
    lowest, highest = np.array([item.plane.heights for item in slices]).T
    if height[-1] - lowest.min() < MIN_BELOW * step:
        return f"the sagittal slices end near {LEVEL_NAMES[-1]}: levels may be counted wrongly"
    if highest.max() - height[0] < MIN_ABOVE * step:
        return f"the sagittal slices begin near {LEVEL_NAMES[0]}: levels may be counted wrongly"
    return None
