import pytest

from evaluation.phantom_score import phantom_score


@pytest.mark.slow
def test_unseen_phantoms_are_graded_in_half_the_loss_of_the_prior(tmp_path):
    metrics = phantom_score(tmp_path, studies=60)  # twenty move by 0.04 of the prior from chance alone
    assert metrics["score"]["mean"] < 0.5 * metrics["prior"]["mean"], metrics
