import pytest

from evaluation.phantom_score import SEED, phantom_score
from lumbar_kernel.results.metric import PARTS
from training.phantoms import FIRST_SEED


def test_scored_phantoms_are_never_trained_on():
    assert SEED + 10_000 < FIRST_SEED


@pytest.mark.slow
def test_unseen_phantoms_are_graded_in_half_the_loss_of_the_prior(tmp_path):
    found = phantom_score(tmp_path, studies=32)  # twenty move by 0.04 of the prior from chance alone
    assert 0 < found["score"]["mean"] < 0.5 * found["prior"]["mean"], found
    assert found["studies"] == 32
    assert found["seconds_per_study"] > 0
    assert set(found["interval"]) == set(PARTS)
    for name, (low, high) in found["interval"].items():
        assert low <= found["score"][name] <= high, name
