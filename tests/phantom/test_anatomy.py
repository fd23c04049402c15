"""Posture: a steep sacrum deepens the hollow above it, and the upper lumbar spine does not simply follow."""

import numpy as np
import pytest

from lumbar_kernel.phantom import draw_patient
from lumbar_kernel.phantom.anatomy import FIRST_FUSED
from lumbar_kernel.phantom.posture import LEAN_BY_SLOPE, SACRAL_SLOPE

VERTEBRAE = ("T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5", "S1", "S2", "S3")


@pytest.fixture(scope="module")
def tilts():
    patients = [draw_patient(seed) for seed in range(250)]
    return np.array([patient.tilt for patient in patients if not patient.transitional])


def of(tilts, *names):
    return tilts[:, [VERTEBRAE.index(name) for name in names]].T


def test_sacra_have_the_mean_slope_of_people_and_vary(tilts):
    slope = tilts[:, FIRST_FUSED] - 4
    assert np.mean(slope) == pytest.approx(SACRAL_SLOPE, abs=2)
    assert 7.5 < np.std(slope) < 11.5


def test_a_steep_sacrum_comes_with_a_deep_lordosis(tilts):
    upper, lower, sacrum = of(tilts, "L2", "L5", "S1")
    assert np.corrcoef(lower - upper, sacrum)[0, 1] > 0.6
    assert 8 < np.std(lower - upper) < 14


def test_the_lean_of_the_upper_spine_is_independent_of_the_lower(tilts):
    upper, lower = of(tilts, "L2", "L5")
    assert abs(np.corrcoef(upper, lower)[0, 1]) < 0.3
    assert np.all(np.diff(LEAN_BY_SLOPE) > 0)


def test_neighbours_lean_alike(tilts):
    for one, other in (("L1", "L2"), ("L2", "L3"), ("L3", "L4"), ("L4", "L5")):
        assert np.corrcoef(*of(tilts, one, other))[0, 1] > 0.3
