"""What a grader learns for each example: the reader's grade, and the grades that other models gave the same row.

A reader's grade is one opinion of several. How likely other models hold each grade to be teaches more about a picture
than the one that was written down (knowledge distillation, Hinton et al. 2015, arXiv:1503.02531).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lumbar_kernel.schema import ROW_ID, SEVERITIES, SEVERITY_WEIGHTS
from training.examples import GradeExamples

MIN_PROBABILITY = 1e-6
"""Added to predictions, so that a row of zeros has a distribution."""


def read_predictions(files: Sequence[Path]) -> dict[str, NDArray[np.float64]]:
    """Row id → (3,) mean of the predictions of several files in the format of a submission that hold the row.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file lacks a column of a submission.
    """
    if not files:
        return {}
    tables = [pd.read_csv(file, usecols=[ROW_ID, *SEVERITIES]) for file in files]
    mean = pd.concat(tables).groupby(ROW_ID)[list(SEVERITIES)].mean()
    return dict(zip(mean.index.astype(str), mean.to_numpy(np.float64), strict=True))


def targets_of(
    examples: GradeExamples, predictions: Mapping[str, NDArray[np.float64]], *, share: float
) -> NDArray[np.float32]:
    """The distribution over the grades that each example is to be given.

    Args:
        examples: with grades of readers.
        predictions: row id → (3,) probabilities of other models, made for the metric: they hold its weights 1, 2, 4.
        share: of the predictions, where there are any; the rest is the reader's grade, or none where he gave none.

    Returns:
        (n, heads, 3), each row summing to one; zeros where there is neither a grade nor a prediction.
    """
    targets: NDArray[np.float32] = (examples.labels[..., None] == np.arange(len(SEVERITIES))).astype(np.float32)
    if not predictions:
        return targets
    for index in np.ndindex(examples.labels.shape):
        predicted = predictions.get(str(examples.row_id[index]))
        if predicted is not None:
            likely = (predicted + MIN_PROBABILITY) / SEVERITY_WEIGHTS  # the metric's answer: weight × probability
            own = share if examples.labels[index] >= 0 else 1.0
            targets[index] = (1 - own) * targets[index] + own * likely / likely.sum()
    return targets
