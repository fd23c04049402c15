"""Noisy readers: a dial from the measured grades to real disagreement, with exact probabilities."""

import numpy as np
import pytest

from lumbar_kernel import schema
from lumbar_kernel.phantom import grade_probabilities, make_truth, read_grades
from lumbar_kernel.phantom.grade_thresholds import PROBITS, QUANTILES, THRESHOLDS
from lumbar_kernel.phantom.measure import grade
from lumbar_kernel.phantom.rater_noise import MARK_SPREAD_MM, read_truth, severity


@pytest.fixture(scope="module")
def scores():
    """Scores of 4,000 studies as the calibration's, (4000, 25)."""
    deviates = np.random.default_rng(0).normal(size=(4000, 25)).clip(PROBITS[0], PROBITS[-1])
    return np.stack([np.interp(deviates[:, i], PROBITS, QUANTILES[i]) for i in range(25)], axis=1)


def test_no_noise_gives_the_measured_grades(scores):
    rng = np.random.default_rng(1)
    for row in scores[:50]:
        assert np.array_equal(read_grades(row, rng, noise=0.0), grade(row))
    assert np.allclose(grade_probabilities(scores[:50], noise=0.0).argmax(-1), grade(scores[:50]))


def test_noise_keeps_the_shares_of_grades_and_confuses_neighbours(scores):
    rng = np.random.default_rng(2)
    read, measured = np.array([read_grades(row, rng) for row in scores]), grade(scores)
    for group in schema.GROUPS:
        rows = [i for i, row in enumerate(schema.ROWS) if schema.group_of(row) == group]
        for value in range(3):
            assert np.mean(read[:, rows] == value) == pytest.approx(np.mean(measured[:, rows] == value), abs=0.025)
    assert 0.03 < np.mean(read != measured) < 0.35


def test_noise_keeps_the_share_of_severe_grades_of_every_row(scores):
    read, measured = grade_probabilities(scores)[..., 2].mean(axis=0), (grade(scores) == 2).mean(axis=0)
    assert np.all(np.abs(read - measured) < 0.3 * measured + 0.001)


def test_a_sac_as_narrow_as_can_be_is_read_as_severe():
    row = schema.row_index(schema.CANAL, 4)
    assert THRESHOLDS[row, 1] == QUANTILES[row, -1]  # all severe canals at L5/S1 have the largest score
    assert grade_probabilities(QUANTILES[:, -1])[row, 2] > 0.75


def test_probabilities_are_those_of_the_reading(scores):
    row, rng = scores[7], np.random.default_rng(3)
    read = np.array([read_grades(row, rng) for _ in range(4000)])
    wanted = np.stack([(read == value).mean(axis=0) for value in range(3)], axis=-1)
    exact = grade_probabilities(row)
    assert np.allclose(exact.sum(-1), 1)
    assert np.allclose(exact, wanted, atol=0.035)


def test_severity_rises_with_the_score(scores):
    order = np.argsort(scores[:, 0])
    assert np.all(np.diff(severity(scores)[order, 0]) >= 0)


def test_a_reader_moves_marks_and_grades_by_the_dial():
    truth = make_truth(4)
    exact = read_truth(truth, np.random.default_rng(0), noise=0.0)
    assert np.array_equal(exact.grades, truth.grades)
    assert np.array_equal(exact.foramina, truth.foramina)
    read = [read_truth(truth, np.random.default_rng(seed)) for seed in range(40)]
    strayed = np.concatenate([(one.foramina - truth.foramina).ravel() for one in read])
    assert strayed.std() == pytest.approx(MARK_SPREAD_MM, rel=0.1)
    assert any((one.grades != truth.grades).any() for one in read)
    assert all(np.array_equal(one.scores, truth.scores) for one in read)
