import numpy as np
import pytest

from evaluation.study_interval import study_interval


def test_the_interval_holds_95_percent():
    losses = -np.log(1 - np.random.default_rng(0).uniform(0.05, 0.5, 400))
    expected = losses.mean() + 1.96 * losses.std() / 20 * np.array([-1, 1])
    studies = np.arange(400).astype(str)
    drawn = study_interval(studies, lambda chosen: float(losses[chosen].mean()), draws=2000)
    assert drawn[1] - drawn[0] == pytest.approx(expected[1] - expected[0], rel=0.07)
    assert np.mean(drawn) == pytest.approx(losses.mean(), rel=0.01)


def test_draws_without_a_statistic_are_left_out_of_the_interval():
    value = np.array([1.0, 2.0, 3.0])

    def statistic(rows):
        return float(value[rows].mean()) if 0 in rows else np.nan

    assert np.isfinite(study_interval(np.array(["a", "b", "c"]), statistic, draws=50)).all()
    assert np.isnan(study_interval(np.array(["a", "b", "c"]), lambda rows: np.nan, draws=5)).all()
