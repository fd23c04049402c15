"""How sure a point is: the estimated probability that a reader would mark it within 8 mm, a recess within 4 mm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.localisation.slice_maps import FORAMINA, MARGINS, SliceMaps
from lumbar_kernel.models.heatmap_net import STRIDE, cells_at
from lumbar_kernel.schema import LEVELS

WITHIN_MM = 8.0
"""A point counts as right within this distance: a quarter of the step between discs, less than two sagittal slices."""

RECESS_WITHIN_MM = 4.0
"""The same for a recess, a quarter of the distance between both; 99.8 % of marked recesses lie within 8 mm."""

BESIDE_MM = 6.0
"""Sagittal slices within this distance of a foramen show it, if it is there."""

LEVEL = (-0.58, 1.99, 2.77, 0.80)
FORAMEN = (-7.21, 7.83, 1.50, 4.41)
RECESS = (2.28, 1.89)
"""Intercept and slopes of the logistic models of a level, a foramen and a recess, none falling; the output of
`python -m training.calibrate_confidence DATA_DIR`, fitted on marks that the localisers had not seen."""

UNSEEN = 0.2
"""Confidence in a recess that was placed by geometry alone. The model says nothing of it: it was fitted to pictures on
which all recesses were found."""


def level_confidence(maps: Sequence[SliceMaps], margin: FloatArray) -> FloatArray:
    """Confidence (5,) in disc margins (5, 3) mm LPS, in the sagittal plane, from the maps of all sagittal slices."""
    return probability(level_features(maps, margin), LEVEL)


def foramen_confidence(maps: Sequence[SliceMaps], foramina: FloatArray) -> FloatArray:
    """Confidence (5, 2) in foramina (5, 2, 3) mm LPS from the maps of the series that they are read on."""
    return probability(foramen_features(maps, foramina), FORAMEN)


def recess_confidence(evidence: FloatArray) -> FloatArray:
    """Confidence in recesses, in the axial plane of a right level, by their heatmap probability; both of one shape."""
    seen = np.asarray(evidence)
    return np.where(seen > 0, probability(seen[..., None], RECESS), UNSEEN)


def probability(features: FloatArray, coefficients: Sequence[float]) -> FloatArray:
    """A logistic model: features (..., n), intercept and n slopes → probabilities (...)."""
    intercept, *slopes = coefficients
    estimated: FloatArray = 1 / (1 + np.exp(-(intercept + features @ np.array(slopes))))
    return estimated


def level_features(maps: Sequence[SliceMaps], margin: FloatArray) -> FloatArray:
    """What speaks for disc margins (5, 3): the columns of `_features`, (5, 3)."""
    return _features(maps, margin, np.arange(len(LEVELS)), channels=MARGINS, beside_mm=np.inf)


def foramen_features(maps: Sequence[SliceMaps], foramina: FloatArray) -> FloatArray:
    """What speaks for foramina (5, 2, 3): the columns of `_features`, (5, 2, 3)."""
    levels = np.repeat(np.arange(len(LEVELS)), 2)
    return _features(maps, foramina.reshape(-1, 3), levels, channels=FORAMINA, beside_mm=BESIDE_MM).reshape(-1, 2, 3)


def _features(
    maps: Sequence[SliceMaps], points: FloatArray, levels: NDArray[np.intp], *, channels: range, beside_mm: float
) -> FloatArray:
    """Three numbers from 0 to 1 that speak for each point, (n, 3).

    They are the largest probability of the landmark there on one slice near the point, the share of its level's
    evidence that lies there, and the share of the evidence there that is of its level.

    Args:
        maps: of the slices that may show the points.
        points: (n, 3) mm LPS.
        levels: (n,) level index of each point.
        channels: landmarks of the five levels.
        beside_mm: slices farther from a point do not count for the first number.
    """
    seen = _seen_around(maps, points, channels=channels)
    own = seen[:, np.arange(len(points)), levels]
    apart = np.abs([item.grid.distance(points) for item in maps])
    peak = np.where(apart <= beside_mm, own, 0.0).max(axis=0)
    total = np.sum([item.maps[channels.start : channels.stop].sum(axis=(1, 2)) for item in maps], axis=0)[levels]
    here, there = own.sum(axis=0), seen.sum(axis=(0, 2))
    return np.stack([peak, here / np.maximum(total, 1e-6), here / np.maximum(there, 1e-6)], axis=1)


def _seen_around(maps: Sequence[SliceMaps], points: FloatArray, *, channels: range) -> FloatArray:
    """Probability of each landmark within `WITHIN_MM` of points projected on slices, (slices, points, landmarks)."""
    seen = np.zeros((len(maps), len(points), len(channels)))
    for index, item in enumerate(maps):
        rows, columns = (np.arange(size) for size in item.maps.shape[1:])
        cells = cells_at(item.grid.to_pixel(points))
        down, right = (rows - cells[:, :1])[:, :, None], (columns - cells[:, 1:])[:, None, :]
        around = down**2 + right**2 < (WITHIN_MM / (item.grid.row_spacing * STRIDE)) ** 2
        of_landmarks = item.maps[channels.start : channels.stop].reshape(len(channels), -1)
        seen[index] = around.reshape(len(points), -1).astype(np.float32) @ of_landmarks.T
    return seen
