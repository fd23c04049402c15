"""Readers who disagree: the same measured narrowing, read with noise, and the exact probabilities behind it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel import schema
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.phantom.grade_thresholds import CUTS, PROBITS, QUANTILES
from lumbar_kernel.phantom.measure import PhantomTruth

SIGMA = {schema.CANAL: 0.28, schema.FORAMINAL: 0.45, schema.SUBARTICULAR: 0.50}
"""Readers' noise per condition at the dial's setting 1, in standard deviations of the narrowing (section 6.8)."""

SHARED = 0.3
"""Share of the noise's variance that is one reader's leniency in a whole study."""

MARK_SPREAD_MM = 1.8
"""How far readers' marks stray in the plane of a slice (section 6.5); across it, now and then to the next slice."""

_ROW_SIGMA = np.array([SIGMA[schema.group_of(row)] for row in schema.ROWS])
_ERF = np.vectorize(math.erf)


def severity(scores: FloatArray) -> FloatArray:
    """Measured scores (..., 25) as standard normal deviates of the calibration's studies."""
    columns = [np.interp(scores[..., i], knots, PROBITS) for i, knots in enumerate(QUANTILES)]
    return np.stack(columns, axis=-1)


def _thresholds() -> FloatArray:
    return np.stack([severity(CUTS[:, grade]) for grade in range(2)], axis=-1)


def read_grades(scores: FloatArray, rng: np.random.Generator, *, noise: float = 1.0) -> NDArray[np.int64]:
    """Grades (25,) of one study as a reader gives them.

    Args:
        scores: measured scores (25,) of `PhantomTruth`.
        rng: the only source of chance.
        noise: dial; 0 gives the measured grades, 1 disagreement like that of real readers.
    """
    sigma = noise * _ROW_SIGMA
    shared, own = rng.normal(), rng.normal(size=len(_ROW_SIGMA))
    seen = severity(scores) + sigma * (math.sqrt(SHARED) * shared + math.sqrt(1 - SHARED) * own)
    # a noisy reader with the same cuts would call more of everything; these keep the shares of grades
    cuts = _thresholds() * np.sqrt(1 + sigma**2)[:, None]
    grades: NDArray[np.int64] = (seen[:, None] >= cuts).sum(axis=-1).astype(np.int64)
    return grades


def read_truth(truth: PhantomTruth, rng: np.random.Generator, *, noise: float = 1.0) -> PhantomTruth:
    """What one reader writes down of a study: grades read with noise, and marks beside the true points.

    Args:
        truth: what was measured.
        rng: the only source of chance.
        noise: dial as in `read_grades`; marks stray by `MARK_SPREAD_MM` times it in every direction.
    """

    def marked(points: FloatArray) -> FloatArray:
        strayed: FloatArray = points + rng.normal(0, noise * MARK_SPREAD_MM, points.shape)
        return strayed

    return replace(
        truth,
        grades=read_grades(truth.scores, rng, noise=noise),
        canal=marked(truth.canal),
        foramina=marked(truth.foramina),
        recesses=marked(truth.recesses),
    )


def grade_probabilities(scores: FloatArray, *, noise: float = 1.0) -> FloatArray:
    """Exact probabilities (..., 25, 3) of what `read_grades` says: nobody can predict its grades better."""
    sigma = np.maximum(noise * _ROW_SIGMA, 1e-9)[:, None]
    cuts = _thresholds() * np.sqrt(1 + sigma**2)
    above = 0.5 * (1 + _ERF((severity(scores)[..., None] - cuts) / (sigma * math.sqrt(2))))
    one, two = above[..., :1], above[..., 1:]
    return np.concatenate([1 - one, one - two, two], axis=-1)
