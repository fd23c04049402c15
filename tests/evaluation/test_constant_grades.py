import numpy as np

from evaluation.constant_grades import constant_submission, prior_of
from lumbar_kernel.schema import ROWS, prior, row_ids


def test_every_study_gets_the_prior_or_the_grades_that_are_given():
    rows = [*row_ids("a_b"), *row_ids("7")]
    assert (np.array([*constant_submission(rows).values()]) == np.concatenate([prior(), prior()])).all()
    grades = np.random.default_rng(0).dirichlet(np.ones(3), size=25)
    submission = constant_submission(rows[:-1], grades)
    assert list(submission) == rows[:-1]
    assert (submission[f"7_{ROWS[3]}"] == grades[3]).all()


def test_the_prior_of_rows_follows_their_condition_and_level_whatever_the_study_is_called():
    rows = [f"a_b_{ROWS[3]}", f"7_{ROWS[3]}", f"7_{ROWS[20]}"]
    assert (prior_of(rows) == prior()[[3, 3, 20]]).all()
