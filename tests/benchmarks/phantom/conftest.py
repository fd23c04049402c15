"""What the tests of this folder share."""

import numpy as np
import pytest

from benchmarks.phantom import labels
from lumbar_kernel.phantom.grade_thresholds import PROBITS, QUANTILES
from lumbar_kernel.schema import GROUPS


@pytest.fixture(scope="module")
def scores():
    deviates = np.random.default_rng(0).normal(size=(150, 25)).clip(PROBITS[0], PROBITS[-1])
    return np.stack([np.interp(deviates[:, i], PROBITS, QUANTILES[i]) for i in range(25)], axis=1)


def drawn_grades(rng, studies, *, more_severe=0.0):
    """Grades with the challenge's shares, no level tied to another."""
    grades = np.zeros((studies, 25), np.int64)
    for group in GROUPS:
        for level in range(5):
            shares = np.array(labels.SHARES[group][level]) / 100 + np.array([-more_severe, 0, more_severe])
            for column in labels.columns(group, level):
                grades[:, column] = rng.choice(3, studies, p=shares / shares.sum())
    return grades
