"""Members' probabilities → the grades of a study: weighted mean, calibration, study-maximum rule, prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.localisation.landmarks import Landmarks
from lumbar_kernel.models.calibration import normalise_rows
from lumbar_kernel.models.manifest import Manifest
from lumbar_kernel.schema import CANAL, FORAMINAL, LEVELS, ROWS, SEVERE, SEVERITIES, SIDES, TARGETS, prior

SHAPE = (len(ROWS), len(SEVERITIES))

CANAL_ROWS = np.array([index for index, target in enumerate(TARGETS) if target.group == CANAL])

SUM_TOLERANCE = 1e-4
"""A softmax in single precision sums to one within a few millionths."""

SURE = 0.3
"""Evidence of a landmark from which its grades count in full; below it they are blended with the prior."""


@dataclass(frozen=True, eq=False)
class CombinedGrades:
    """The grades of a study as its members stand.

    Attributes:
        grades: (25, 3), rows as in `schema.ROWS`, each summing to one.
        graded: (25,) bool, the rows that at least one member graded with some weight; the others hold the prior.
        weight: (25,) the members' share in each row, zero where none graded; the rest is the prior's.
        members: names of the members that took part, in the manifest's order.
        row_members: names of those that graded each of the 25 rows.
    """

    grades: FloatArray
    graded: NDArray[np.bool_]
    weight: FloatArray
    members: tuple[str, ...]
    row_members: tuple[tuple[str, ...], ...]


def combine(predictions: Mapping[str, FloatArray], manifest: Manifest, weights: FloatArray) -> CombinedGrades:
    """The grades of a study from its members: weighted mean, calibration, study maximum, blend with the prior.

    Args:
        predictions: member → (25, 3) probabilities, NaN in rows that it could not grade.
        manifest: gives ensemble weights and calibration.
        weights: (25,) share of the members in each row, 0 to 1; the rest is the prior's.
    """
    # in the manifest's order, since a sum of floats depends on the order of its terms
    members = [spec for spec in manifest.members if spec.name in predictions]
    own = [predictions[spec.name] for spec in members]
    own_weights = [np.array([spec.weight(target.group) for target in TARGETS]) for spec in members]
    grades, graded = weighted_mean(own, own_weights)
    graded &= weights > 0  # the others are the prior's
    row_members: list[tuple[str, ...]] = [()] * len(ROWS)
    for spec, predicted, own_weight in zip(members, own, own_weights, strict=True):
        for row in np.flatnonzero(graded & ~np.isnan(predicted).any(axis=1) & (own_weight > 0)):
            row_members[row] += (spec.name,)
    calibrated = np.where(graded[:, None], manifest.calibration.apply(grades), grades)
    grades = scale_max_severe(calibrated, manifest.calibration.max_severe_factor)
    weight = np.where(graded, weights, 0.0)
    grades = blend_with_prior(grades, weight)
    return CombinedGrades(grades, graded, weight, tuple(spec.name for spec in members), tuple(row_members))


def weighted_mean(
    predictions: Sequence[FloatArray], weights: Sequence[FloatArray]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Mean of members row by row over those that could grade it, and which rows any did; the prior where none did.

    Args:
        predictions: (25, 3) of each member, rows as in `schema.ROWS`; a NaN means that it could not grade the row.
        weights: (25,) of each member, not negative.

    Returns:
        (25, 3) with rows summing to one, and (25,) bool.

    Raises:
        ValueError: a row that was graded holds no probabilities.
    """
    total, weight = np.zeros(SHAPE), np.zeros(len(ROWS))
    for own, own_weight in zip(predictions, weights, strict=True):
        able = ~np.any(np.isnan(own), axis=1)
        _require_probabilities(own, able)
        counted = np.where(able, own_weight, 0.0)
        total += counted[:, None] * np.where(able[:, None], own, 0.0)
        weight += counted
    graded = weight > 0
    return normalise_rows(np.where(graded[:, None], total, prior())), graded


def scale_max_severe(probabilities: FloatArray, factor: float) -> FloatArray:
    """Multiply a study's largest severe probability of the canal by a factor and normalise that row.

    The metric uses this one number twice, in the canal's loss and in the any-severe term, where missing a severe
    canal has the largest weight.

    Args:
        probabilities: (25, 3), rows as in `schema.ROWS`; not changed.
        factor: above zero; 1 changes nothing.
    """
    scaled = np.array(probabilities, dtype=np.float64)
    row = CANAL_ROWS[np.argmax(scaled[CANAL_ROWS, SEVERE])]
    scaled[row, SEVERE] *= factor
    scaled[row] /= scaled[row].sum()
    return scaled


def blend_with_prior(probabilities: FloatArray, weights: FloatArray) -> FloatArray:
    """Blend each row with the prior: weight × row + (1 - weight) × prior.

    Args:
        probabilities: (25, 3), rows as in `schema.ROWS`.
        weights: (25,) between 0 (the prior) and 1 (the row unchanged).

    Raises:
        ValueError: a weight is outside 0 to 1.
    """
    if not ((weights >= 0) & (weights <= 1)).all():
        msg = f"weights must lie between 0 and 1, not {weights.tolist()}"
        raise ValueError(msg)
    return weights[:, None] * probabilities + (1 - weights[:, None]) * prior()


def row_weights(landmarks: Landmarks) -> FloatArray:
    """Share of the kernel's own prediction in each of the 25 rows, 0 to 1, by the evidence of its level and foramen."""
    of_level = np.clip(landmarks.evidence / SURE, 0, 1)
    weights = np.empty(len(ROWS))
    for index, target in enumerate(TARGETS):
        level = LEVELS.index(target.level)
        weights[index] = of_level[level]
        if target.group == FORAMINAL:
            of_foramen = np.clip(landmarks.foramen_evidence[level, SIDES.index(target.side)] / SURE, 0, 1)
            # half of the weight stays: a foramen placed by geometry alone is still near its level
            weights[index] *= 0.5 + 0.5 * of_foramen
    return weights


def _require_probabilities(rows: FloatArray, chosen: NDArray[np.bool_]) -> None:
    """Raise ValueError unless the chosen rows are finite, not negative and sum to one."""
    proper: NDArray[np.bool_] = np.all(np.isfinite(rows) & (rows >= 0), axis=1)
    wrong = chosen & ~(proper & (np.abs(np.where(proper[:, None], rows, 0.0).sum(axis=1) - 1) <= SUM_TOLERANCE))
    if wrong.any():
        row = int(np.argmax(wrong))
        msg = f"{ROWS[row]} must hold {len(SEVERITIES)} probabilities that sum to one, not {rows[row].tolist()}"
        raise ValueError(msg)
