"""The frozen tables are consistent: one row per graded row, thresholds inside the scores that were measured."""

import numpy as np

from lumbar_kernel.phantom.grade_thresholds import PROBITS, QUANTILES, SCALES, THRESHOLDS, VERSION
from lumbar_kernel.schema import ROWS, TARGETS


def test_every_row_has_two_rising_thresholds_and_rising_quantiles():
    assert THRESHOLDS.shape == (len(ROWS), 2)
    assert QUANTILES.shape == (len(ROWS), len(PROBITS))
    assert np.all(np.diff(THRESHOLDS, axis=1) > 0)
    assert np.all(np.diff(QUANTILES, axis=1) >= 0)
    assert np.all(np.diff(PROBITS) > 0)


def test_thresholds_are_reached_by_measured_scores():
    assert np.all(THRESHOLDS[:, 1] <= QUANTILES[:, -1])
    assert np.all(THRESHOLDS[:, 0] >= QUANTILES[:, 0])


def test_both_sides_share_their_thresholds():
    sides = [[k for k, target in enumerate(TARGETS) if target.side == side] for side in ("left", "right")]
    assert len(sides[0]) == len(sides[1]) == 10
    assert np.array_equal(THRESHOLDS[sides[0]], THRESHOLDS[sides[1]])


def test_scales_are_positive_and_the_version_is_known():
    assert all(spread > 0 for _, spread in SCALES.values())
    assert VERSION >= 1
