"""Members' probabilities → the grades of a study: weighted mean, calibration, study-maximum rule, prior."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.localisation.landmarks import Landmarks
from lumbar_kernel.models.calibration import normalise_rows
from lumbar_kernel.schema import (
    CANAL,
    FORAMINAL,
    LEVELS,
    ROWS,
    SEVERITIES,
    SIDES,
    group_of,
    prior,
)

SHAPE = (len(ROWS), len(SEVERITIES))

CANAL_ROWS = np.array([index for index, row in enumerate(ROWS) if group_of(row) == CANAL])
SEVERE = SEVERITIES.index("severe")
SUM_TOLERANCE = 1e-2
"""Members may run in half precision, whose softmax sums to one within a few thousandths."""


class Ensemble:
    """Running weighted mean of one study's probabilities over the members that could say; valid after each `add`."""

    def __init__(self) -> None:
        self._total = np.zeros(SHAPE)
        self._weight = np.zeros(len(ROWS))

    def add(self, probabilities: FloatArray, *, weights: ArrayLike = 1.0) -> None:
        """Take in one member.

        Args:
            probabilities: (25, 3), rows as in `schema.ROWS`; a row with a NaN means that the member cannot say.
            weights: one weight for all rows or (25,), each finite and not negative.

        Raises:
            ValueError: the shape, a probability or a weight is impossible; nothing is taken in.
        """
        probabilities = np.asarray(probabilities, dtype=np.float64)
        weight = np.asarray(weights, dtype=np.float64)
        if probabilities.shape != SHAPE or weight.shape not in ((), (len(ROWS),)):
            msg = f"need probabilities (25, 3) and one weight or (25,), not {probabilities.shape} and {weight.shape}"
            raise ValueError(msg)
        said: NDArray[np.bool_] = ~np.any(np.isnan(probabilities), axis=1)
        wrong = said & ~_are_probabilities(probabilities)
        if wrong.any():
            row = int(np.argmax(wrong))
            msg = f"{ROWS[row]} must hold three probabilities that sum to one, not {probabilities[row].tolist()}"
            raise ValueError(msg)
        if not (np.isfinite(weight).all() and (weight >= 0).all()):
            msg = f"weights must be finite and not negative, not {weight.tolist()}"
            raise ValueError(msg)
        weight = np.where(said, weight, 0.0)
        self._total += weight[:, None] * np.where(said[:, None], probabilities, 0.0)
        self._weight += weight

    @property
    def said(self) -> NDArray[np.bool_]:
        """Which rows at least one member graded, shape (25,)."""
        return self._weight > 0

    def result(self) -> FloatArray:
        """Weighted mean over those who said something, (25, 3), rows summing to one; the prior where nobody did."""
        grades = np.where(self.said[:, None], self._total, prior())
        return normalise_rows(grades)


def scale_max_severe(probabilities: FloatArray, factor: float) -> FloatArray:
    """Multiply a study's largest severe probability of the canal by a factor and normalise that row.

    The metric uses this one number twice, in the canal's loss and in the any-severe term, where missing a severe
    canal weighs most.

    Args:
        probabilities: (25, 3), rows as in `schema.ROWS`; not changed.
        factor: above zero; 1 changes nothing.
    """
    scaled = np.array(probabilities, dtype=np.float64)
    row = CANAL_ROWS[np.argmax(scaled[CANAL_ROWS, SEVERE])]
    scaled[row, SEVERE] *= factor
    scaled[row] /= scaled[row].sum()
    return scaled


def blend_with_prior(probabilities: FloatArray, confidence: ArrayLike) -> FloatArray:
    """Lean each row on the prior as far as its confidence is short of one.

    Args:
        probabilities: (25, 3), rows as in `schema.ROWS`.
        confidence: one number or (25,), each between 0 (the prior) and 1 (as it stands).

    Raises:
        ValueError: a confidence is outside 0 to 1.
    """
    share = np.broadcast_to(np.asarray(confidence, dtype=np.float64), len(ROWS))[:, None]
    if not ((share >= 0) & (share <= 1)).all():
        msg = f"confidence must lie between 0 and 1, not {share[:, 0].tolist()}"
        raise ValueError(msg)
    return share * np.asarray(probabilities, dtype=np.float64) + (1 - share) * prior()


def _are_probabilities(rows: FloatArray) -> NDArray[np.bool_]:
    """Which rows (n, 3) are finite, not negative and sum to one within the precision of a member."""
    proper: NDArray[np.bool_] = np.all(np.isfinite(rows) & (rows >= 0), axis=1)
    sums_to_one: NDArray[np.bool_] = np.abs(np.where(proper[:, None], rows, 0.0).sum(axis=1) - 1) <= SUM_TOLERANCE
    return proper & sums_to_one


SURE = 0.3
"""Confidence of a level from which its grades count in full; below it they lean on the prior."""


def row_confidence(landmarks: Landmarks) -> FloatArray:
    """How far each of the 25 rows may be trusted for its place, 0..1: its level, and its own landmark."""
    level = np.clip(landmarks.confidence / SURE, 0, 1)
    trust = np.empty(len(ROWS))
    for index, row in enumerate(ROWS):
        k = LEVELS.index(row[-5:])
        trust[index] = level[k]
        if group_of(row) == FORAMINAL:
            side = SIDES.index(row.split("_")[0])
            seen = np.clip(landmarks.foramen_confidence[k, side] / SURE, 0, 1)
            trust[index] *= 0.5 + 0.5 * seen
    return trust
