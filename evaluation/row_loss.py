"""The weighted log loss of rows that were graded one by one, with its interval and what to compare it with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluation.constant_grades import prior_of
from evaluation.study_interval import study_interval
from lumbar_kernel.results.metric import weighted_log_loss
from lumbar_kernel.schema import frequencies


def row_loss(
    labels: NDArray[np.integer],
    probabilities: NDArray[np.float64],
    *,
    row_id: NDArray[np.str_],
    study: NDArray[np.str_],
) -> dict[str, float]:
    """Loss, the prior's loss on the same rows, the interval of the loss over studies, right grades, and counts.

    Args:
        labels: (n,) grade 0..2.
        probabilities: (n, 3).
        row_id: (n,) `<study>_<condition>_<level>`.
        study: (n,) of each row.

    Returns:
        `accuracy` is the share of rows whose likeliest grade is right, the likeliest as in a run's report: with the
        metric's weights taken out of the probabilities. The other keys are `loss`, `prior`, `low`, `high`, `n` and
        `studies`.
    """
    low, high = study_interval(study, lambda chosen: weighted_log_loss(labels[chosen], probabilities[chosen]))
    return {
        "loss": weighted_log_loss(labels, probabilities),
        "prior": weighted_log_loss(labels, prior_of(row_id)),
        "low": low,
        "high": high,
        "accuracy": float((frequencies(probabilities).argmax(axis=1) == labels).mean()),
        "n": len(labels),
        "studies": len(np.unique(study)),
    }
