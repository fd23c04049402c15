"""Scales of signals: between two percentiles, for networks and as bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray

NORMAL_PERCENTILES = (1.0, 99.0)
"""Of the pixels above 0, which `normalise` brings to 0 and 1."""

BRIGHTEST = 1.5
"""Of the pixels that `normalise` scales; brighter ones are clipped to it."""

MIN_PIXELS = 16
"""An image with fewer pixels above 0 shows nothing."""

BINS, MANY = 1 << 12, 1 << 14
"""In how many bins `percentiles` counts values, and from how many values on that is quicker than sorting them."""


def normalise(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image with its low and high percentiles brought to 0 and 1, clipped to [0, `BRIGHTEST`]; flat ones give 0."""
    inside = image[image > 0]
    if inside.size < MIN_PIXELS:
        return np.zeros_like(image)
    bottom, top = percentiles(inside, NORMAL_PERCENTILES)
    return _scaled(image, bottom, top)


def percentiles(values: NDArray[np.float32], percentages: Sequence[float]) -> FloatArray:
    """What `numpy.percentile` gives for finite values (n,); of many only those in the bins asked for are sorted."""
    low, spread = values.min(), float(values.max()) - float(values.min())
    if values.size < MANY or not 1e-30 < spread < 1e30:  # else single precision could not scale them to bins
        return np.asarray(np.percentile(values, percentages))
    bins = ((values - low) * np.float32((BINS - 1) / spread)).astype(np.uint16)
    ends = np.bincount(bins).cumsum()
    place = np.array(percentages) / 100 * (values.size - 1)
    below = place.astype(np.intp)

    def ranked(rank: int) -> float:
        holds = np.searchsorted(ends, rank, side="right")
        within = values[bins == holds]
        at = rank - ends[holds] + within.size
        return float(np.partition(within, at)[at])

    ranks = below, np.ceil(place).astype(np.intp)
    first, after = (np.array([ranked(rank) for rank in of_all], np.float32) for of_all in ranks)
    share, step = place - below, after - first  # between two values as NumPy does it, to the last bit
    return np.asarray(np.where(share < 0.5, first + step * share, after - step * (1 - share)))


def normalise_bytes(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What `normalise` makes of an image of bytes, whose levels are counted rather than sorted."""
    counts = np.bincount(image.ravel(), minlength=256)
    counts[0] = 0
    ends = counts.cumsum()
    if ends[-1] < MIN_PIXELS:
        return np.zeros(image.shape, np.float32)
    place = np.array(NORMAL_PERCENTILES) / 100 * (ends[-1] - 1)
    below = np.floor(place)
    level, next_level = (np.searchsorted(ends, np.minimum(k, ends[-1] - 1), side="right") for k in (below, below + 1))
    bottom, top = level + (place - below) * (next_level - level)
    scaled: NDArray[np.float32] = _scaled(np.arange(256, dtype=np.float32), bottom, top)[image]
    return scaled


def _scaled(image: NDArray[np.float32], bottom: float, top: float) -> NDArray[np.float32]:
    # scalars in single precision by name, since NumPy 1 and 2 promote them differently
    scaled: NDArray[np.float32] = image - np.float32(bottom)
    scaled *= np.float32(1 / max(top - bottom, 1e-6))
    return np.clip(scaled, np.float32(0.0), np.float32(BRIGHTEST), out=scaled)


def to_bytes(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The image as bytes: its 0.5th and 99.5th percentiles become 0 and 255, in kernel and training alike."""
    low, high = percentiles(image.ravel(), (0.5, 99.5))
    image64 = image.astype(np.float64)
    scaled: NDArray[np.uint8] = np.clip((image64 - low) * (255 / max(high - low, 1e-6)), 0, 255).astype(np.uint8)
    return scaled
