"""Regressions that predict grades from measures of the geometry: two bounds below the noise oracle.

The first knows every measure of the painted geometry but not the score computed from them; the second measures the
geometry in slices as thick as those of a scanner. The loss from one to the next shows where a grader's error arises.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.phantom.labels import columns
from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.phantom import make_spine
from lumbar_kernel.phantom.grid import VoxelGrid
from lumbar_kernel.phantom.measure import MEASURES, Measures, measure
from lumbar_kernel.phantom.painting import VOXEL, paint_canal
from lumbar_kernel.schema import GROUPS, LEVELS, SEVERITIES, SEVERITY_WEIGHTS, SIDES

SLICE_MM = 4.0
"""Distance of the slices in which the second regression measures the geometry, the challenge's usual one."""

ACROSS, ALONG = 0, 2
"""Axes of a grid that sagittal and axial slices are stacked along."""

FORAMEN = ("fat", "lost_sides", "squeezed", "foramen")
"""Prefixes of the measures that are taken from sagittal slices."""

FOLDS = 5
STRENGTH = 0.03
"""Inverse regularisation of the regression (scikit-learn's C): of 0.03, 0.1, 0.3 and 1 the best on 400 phantoms."""

MIN_PROBABILITY, MIN_VALUE = 1e-6, 0.05
"""Smallest probability; smallest value of a measure whose logarithm is taken."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The measures of one phantom that both regressions use.

    Attributes:
        scores: (25,) measured stenosis, which the noise oracle knows.
        fine: measures of the painted geometry.
        acquired: measures of the same geometry in slices.
    """

    scores: FloatArray
    fine: Measures
    acquired: Measures


def measured(seed: int) -> Measured:
    """Paint a phantom and measure it as it is and in slices at random places."""
    spine = make_spine(seed)
    grid = paint_canal(spine)
    truth = measure(spine, grid)
    rng = np.random.default_rng(seed)
    axial, sagittal = (measure(spine, in_slices(grid, axis, rng)).measures for axis in (ALONG, ACROSS))
    acquired = {name: (sagittal if name.startswith(FORAMEN) else axial)[name] for name in MEASURES}
    return Measured(truth.scores, truth.measures, acquired)


def in_slices(grid: VoxelGrid, axis: int, rng: np.random.Generator) -> VoxelGrid:
    """The grid with the commonest tissue of each slice of `SLICE_MM` in place of its voxels."""
    thick = round(SLICE_MM / VOXEL)
    count = grid.ids.shape[axis]
    starts = np.unique(np.concatenate([[0], np.arange(int(rng.integers(thick)), count, thick)]))
    found = np.unique(grid.ids)
    votes = np.stack([np.add.reduceat(grid.ids == value, starts, axis=axis, dtype=np.uint8) for value in found])
    commonest = found[votes.argmax(axis=0)]
    return replace(grid, ids=np.repeat(commonest, np.diff([*starts, count]), axis=axis))


def regression_predictions(known: Sequence[Measures], labels: NDArray[np.int64]) -> FloatArray:
    """Predictions of a regression for studies that it was not fitted on, (n, 25, 3), optimal for the metric's weights.

    One multinomial regression per condition and level, since thresholds differ between levels; both sides together.

    Args:
        known: measures of n studies.
        labels: their grades, (n, 25).
    """
    predicted = np.full((*labels.shape, len(SEVERITIES)), MIN_PROBABILITY)
    fold = np.random.default_rng(0).permutation(len(labels)) % FOLDS
    for group, level in itertools.product(GROUPS, range(len(LEVELS))):
        rows = np.array(columns(group, level))
        features = np.stack([_features(own, level, sides=len(rows)) for own in known])
        for held in range(FOLDS):
            train, test = np.flatnonzero(fold != held), np.flatnonzero(fold == held)
            grades = labels[np.ix_(train, rows)].ravel()
            if len(np.unique(grades)) == 1:
                predicted[np.ix_(test, rows, grades[:1])] = 1
                continue
            model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=300))
            weight = np.array(SEVERITY_WEIGHTS)[grades]
            model.fit(np.concatenate(features[train]), grades, logisticregression__sample_weight=weight)
            probabilities = model.predict_proba(np.concatenate(features[test])).reshape(len(test), len(rows), -1)
            predicted[np.ix_(test, rows, model.classes_)] = np.maximum(probabilities, MIN_PROBABILITY)
    shares: NDArray[np.float64] = predicted / predicted.sum(axis=-1, keepdims=True)
    return shares


def _features(measures: Measures, level: int, *, sides: int) -> FloatArray:
    """Measures of a level and their logarithms, (sides, features): middle, own side, other side."""
    middle = [name for name in MEASURES if not name.endswith(SIDES)]
    sided = [name.removesuffix(SIDES[0]) for name in MEASURES if name.endswith(SIDES[0])]
    found = []
    for own in range(sides):
        names = [*middle, *(f"{name}{side}" for side in (SIDES[own], SIDES[1 - own]) for name in sided)]
        values = np.array([measures[name][level] for name in names])
        found.append(np.concatenate([values, np.log(np.maximum(values, MIN_VALUE))]))
    return np.stack(found)
