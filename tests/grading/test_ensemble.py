import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumbar_kernel.errors import WeightsError
from lumbar_kernel.grading.ensemble import Ensemble, blend_with_prior, scale_max_severe
from lumbar_kernel.models.calibration import Calibration
from lumbar_kernel.schema import CANAL, FORAMINAL, ROWS, group_of, prior, row_index

SEEDS = st.integers(0, 10_000)
CANAL_ROWS = [row_index(CANAL, level) for level in range(5)]


def member(seed, *, silent=()):
    """Random probabilities of one member, NaN on the rows that it cannot grade."""
    grades = np.random.default_rng(seed).dirichlet(np.ones(3), size=25)
    grades[list(silent)] = np.nan
    return grades


def test_an_empty_ensemble_gives_the_prior():
    np.testing.assert_allclose(Ensemble().result(), prior())
    assert not Ensemble().said.any()


@given(SEEDS)
def test_partial_ensembles_are_renormalised(seed):
    generator = np.random.default_rng(seed)
    ensemble = Ensemble()
    for _ in range(3):
        silent = generator.choice(25, size=8, replace=False)
        ensemble.add(member(generator.integers(1 << 30), silent=silent), weights=generator.uniform(0, 3, size=25))
        np.testing.assert_allclose(ensemble.result().sum(axis=1), 1)


def test_one_member_is_its_own_mean_whatever_its_weight():
    ensemble = Ensemble()
    ensemble.add(member(0, silent=[4]), weights=0.25)
    expected = member(0)
    expected[4] = prior()[4]
    np.testing.assert_allclose(ensemble.result(), expected)
    assert ensemble.said.sum() == 24


def test_weights_count_row_by_row_and_order_does_not_matter():
    first, second, weights = member(1), member(2), np.linspace(0, 3, 25)
    forwards, backwards = Ensemble(), Ensemble()
    forwards.add(first, weights=weights)
    forwards.add(second)
    backwards.add(second)
    backwards.add(first, weights=weights)
    expected = (weights[:, None] * first + second) / (weights[:, None] + 1)
    np.testing.assert_allclose(forwards.result(), expected)
    np.testing.assert_allclose(backwards.result(), expected)


def test_a_weight_of_zero_says_nothing():
    ensemble = Ensemble()
    ensemble.add(member(0), weights=0)
    np.testing.assert_allclose(ensemble.result(), prior())


@pytest.mark.parametrize("bad", [np.inf, -0.2, 0.9])
def test_impossible_probabilities_are_refused_and_leave_no_trace(bad):
    ensemble, grades = Ensemble(), member(0)
    grades[7, 0] = bad
    with pytest.raises(ValueError, match=ROWS[7]):
        ensemble.add(grades)
    assert not ensemble.said.any()


@pytest.mark.parametrize("weights", [-1, np.nan, np.inf, np.ones(24), np.full(25, -1.0)])
def test_impossible_weights_are_refused(weights):
    with pytest.raises(ValueError, match="weight"):
        Ensemble().add(member(0), weights=weights)


def test_half_precision_members_are_welcome():
    ensemble = Ensemble()
    ensemble.add(member(0).astype(np.float16))
    np.testing.assert_allclose(ensemble.result().sum(axis=1), 1, rtol=1e-12)


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


@given(SEEDS, st.floats(1.01, 4))
def test_the_study_maximum_rule_raises_one_canal_row_alone(seed, factor):
    before = member(seed)
    after = scale_max_severe(before, factor)
    changed = np.flatnonzero((after != before).any(axis=1))
    assert changed.tolist() == [CANAL_ROWS[np.argmax(before[CANAL_ROWS, 2])]]
    np.testing.assert_allclose(after.sum(axis=1), 1)
    assert after[changed[0], 2] > before[changed[0], 2]
    assert after[changed[0], 0] / after[changed[0], 1] == pytest.approx(before[changed[0], 0] / before[changed[0], 1])


def test_confidence_runs_from_the_prior_to_the_grade():
    confidence = np.linspace(0, 1, 25)
    blended = blend_with_prior(member(5), confidence)
    np.testing.assert_allclose(blended.sum(axis=1), 1)
    np.testing.assert_allclose(blended[0], prior()[0])
    np.testing.assert_allclose(blended[-1], member(5)[-1])
    np.testing.assert_allclose(blended[12], (member(5)[12] + prior()[12]) / 2)


@pytest.mark.parametrize("confidence", [-0.1, 1.1, np.nan])
def test_a_confidence_outside_zero_to_one_is_refused(confidence):
    with pytest.raises(ValueError, match="confidence"):
        blend_with_prior(member(0), confidence)
