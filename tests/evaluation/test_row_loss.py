import numpy as np
import pytest

from evaluation.constant_grades import prior_of
from evaluation.row_loss import row_loss
from lumbar_kernel.results.metric import weighted_log_loss
from lumbar_kernel.schema import CANAL, ROWS, prior


def rows(studies=60):
    random = np.random.default_rng(0)
    study = np.repeat(np.arange(studies).astype(str), 5)
    row_id = np.array(
        [f"{name}_{row}" for name, row in zip(study, [r for r in ROWS if CANAL in r] * studies, strict=True)]
    )
    return study, row_id, random.integers(0, 3, len(study))


def test_certain_grades_have_the_accuracy_of_their_right_rows():
    study, row_id, labels = rows()
    graded = np.full((len(labels), 3), 0.01)
    graded[:, 0] = 0.98
    figure = row_loss(labels, graded, row_id=row_id, study=study)
    assert figure["accuracy"] == pytest.approx((labels == 0).mean())
    assert figure["loss"] == pytest.approx(weighted_log_loss(labels, graded))
    assert figure["low"] < figure["loss"] < figure["high"]
    assert (figure["n"], figure["studies"]) == (300, 60)


def test_the_likeliest_grade_has_the_weights_of_the_metric_taken_out():
    study, row_id, _ = rows()
    leaning = np.tile([0.3, 0.2, 0.5], (len(study), 1))  # expected 57, 19 and 24 times in a hundred
    figure = row_loss(np.zeros(len(study), int), leaning, row_id=row_id, study=study)
    assert figure["accuracy"] == 1


def test_the_prior_is_looked_up_by_condition_and_level():
    _, row_id, labels = rows()
    constant = prior_of(row_id)
    assert (constant[:5] == prior()[[k for k, row in enumerate(ROWS) if CANAL in row]]).all()
    figure = row_loss(labels, constant, row_id=row_id, study=np.array([row.partition("_")[0] for row in row_id]))
    assert figure["prior"] == figure["loss"]
