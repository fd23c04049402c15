"""Rater noise: radiologists who disagree about a measured stenosis, and exact probabilities of their grades."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel import schema
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.phantom.grade_thresholds import PROBITS, QUANTILES, THRESHOLDS
from lumbar_kernel.phantom.measure import PhantomTruth

SIGMA = {schema.CANAL: 0.28, schema.FORAMINAL: 0.45, schema.SUBARTICULAR: 0.50}
"""Rater noise per condition at setting 1, in standard deviations of the measured stenosis."""

SHARED = 0.3
"""Fraction of the noise variance that is one rater's leniency in a whole study."""

MARK_SPREAD_MM = 1.8
"""Spread of raters' marks in the plane of a slice; across it, occasionally to the next slice."""

_ROW_SIGMA = np.array([SIGMA[schema.group_of(row)] for row in schema.ROWS])
_ERF = np.vectorize(math.erf)


def severity(scores: FloatArray) -> FloatArray:
    """Measured scores (..., 25) as standard normal deviates of the calibration's studies."""
    columns = [np.interp(scores[..., i], knots, PROBITS) for i, knots in enumerate(QUANTILES)]
    return np.stack(columns, axis=-1)


def _thresholds() -> FloatArray:
    """Thresholds (25, 2) of the grades as deviates.

    The largest score a condition can reach stands for many deviates; a threshold there is the lowest of them, since all
    of them pass it.
    """
    # np.interp gives the highest of equal knots; on the mirrored axes that is the lowest
    mirrored = [np.interp(-row, -knots[::-1], PROBITS[::-1]) for row, knots in zip(THRESHOLDS, QUANTILES, strict=True)]
    return np.stack(mirrored)


def read_grades(scores: FloatArray, rng: np.random.Generator, *, noise: float = 1.0) -> NDArray[np.int64]:
    """Grades (25,) of one study as a rater gives them.

    Args:
        scores: measured scores (25,) of `PhantomTruth`.
        rng: the only source of randomness.
        noise: 0 gives the measured grades, 1 a disagreement like that of real radiologists.
    """
    sigma = noise * _ROW_SIGMA
    shared, own = rng.normal(), rng.normal(size=len(_ROW_SIGMA))
    seen = severity(scores) + sigma * (math.sqrt(SHARED) * shared + math.sqrt(1 - SHARED) * own)
    # with the same thresholds noise would raise the frequency of both narrow grades; widened ones keep the label shares
    thresholds = _thresholds() * np.sqrt(1 + sigma**2)[:, None]
    grades: NDArray[np.int64] = (seen[:, None] >= thresholds).sum(axis=-1).astype(np.int64)
    return grades


def read_truth(truth: PhantomTruth, rng: np.random.Generator, *, noise: float = 1.0) -> PhantomTruth:
    """The annotations of one rater: grades with noise, and marks near the true points.

    Args:
        truth: measured truth.
        rng: the only source of randomness.
        noise: as in `read_grades`; marks scatter by `MARK_SPREAD_MM` times it in every direction.
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
    """Exact probabilities (..., 25, 3) of the grades of `read_grades`: the best possible prediction of them."""
    sigma = np.maximum(noise * _ROW_SIGMA, 1e-9)[:, None]
    thresholds = _thresholds() * np.sqrt(1 + sigma**2)
    above = 0.5 * (1 + _ERF((severity(scores)[..., None] - thresholds) / (sigma * math.sqrt(2))))
    ends = np.ones((*above.shape[:-1], 1))
    probabilities: FloatArray = -np.diff(np.concatenate([ends, above, 0 * ends], axis=-1), axis=-1)
    return probabilities
