import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumbar_kernel.errors import WeightsError
from lumbar_kernel.models.calibration import Calibration
from lumbar_kernel.schema import CANAL, FORAMINAL, ROWS, group_of

SEEDS = st.integers(0, 10_000)


def member(seed, *, silent=()):
    """Random probabilities of one member, NaN on the rows that it cannot grade."""
    grades = np.random.default_rng(seed).dirichlet(np.ones(3), size=25)
    grades[list(silent)] = np.nan
    return grades


@given(SEEDS)
def test_the_default_calibration_changes_nothing(seed):
    np.testing.assert_allclose(Calibration().apply(member(seed)), member(seed), atol=1e-7)


def test_calibration_reaches_its_own_group_only():
    entry = {FORAMINAL: {"temperature": 2.0, "bias": [0.0, 0.0, 0.5]}}
    before = member(3)
    after = Calibration.from_dict(entry).apply(before)
    foraminal = np.array([group_of(row) == FORAMINAL for row in ROWS])
    np.testing.assert_allclose(after[~foraminal], before[~foraminal], atol=1e-7)
    shifted = before[foraminal] ** 0.5 * np.exp([0, 0, 0.5])
    np.testing.assert_allclose(after[foraminal], shifted / shifted.sum(axis=1, keepdims=True), rtol=1e-6)


def test_a_temperature_keeps_the_order_and_survives_certainty():
    certain = np.tile([1.0, 0.0, 0.0], (25, 1))
    cold = Calibration.from_dict({CANAL: {"temperature": 0.01}}).apply(certain)
    assert np.isfinite(cold).all()
    assert (cold.argmax(axis=1) == 0).all()


def test_calibration_survives_the_manifest():
    entry = {CANAL: {"temperature": 0.8, "bias": [0, 0.1, -0.2]}, "max_severe_factor": 1.25}
    calibration = Calibration.from_dict(entry)
    assert calibration.max_severe_factor == 1.25
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration
    assert Calibration.from_dict({}) == Calibration()


@pytest.mark.parametrize(
    "entry",
    [
        {"canal": {}},
        {CANAL: 1.0},
        {CANAL: {"temprature": 1.0}},
        {CANAL: {"temperature": 0}},
        {CANAL: {"temperature": float("nan")}},
        {CANAL: {"temperature": "1"}},
        {CANAL: {"bias": [0, 0]}},
        {CANAL: {"bias": 0}},
        {CANAL: {"bias": [0, 0, None]}},
        {"max_severe_factor": -1},
        {"max_severe_factor": True},
    ],
)
def test_a_damaged_calibration_is_a_weights_error(entry):
    with pytest.raises(WeightsError, match=r"canal|max_severe_factor"):
        Calibration.from_dict(entry)


def test_a_very_low_temperature_survives_rows_without_a_likely_grade():
    even = np.full((25, 3), 1 / 3)
    np.testing.assert_allclose(Calibration.from_dict({CANAL: {"temperature": 0.001}}).apply(even), even)
