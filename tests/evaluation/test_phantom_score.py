import pytest

from evaluation.phantom_score import SEED, phantom_score
from training.phantoms import FIRST_SEED


def test_scored_phantoms_are_never_trained_on():
    assert SEED + 10_000 < FIRST_SEED


@pytest.mark.slow
def test_the_score_has_its_interval_and_repeats(tmp_path):
    one, other = (phantom_score(tmp_path / name, studies=2, seed=SEED) for name in "ab")
    assert one["score"] == other["score"]
    assert one["studies"] == 2
    assert one["seconds_per_study"] > 0
    low, high = one["interval"]["mean"] if isinstance(one["interval"], dict) else one["interval"]
    assert low <= one["score"]["mean"] <= high
    assert 0 < one["score"]["mean"] < 2 * one["prior"]["mean"]
