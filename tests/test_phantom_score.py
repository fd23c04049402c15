import pytest

from benchmarks.phantom_score import phantom_score

SHARE_OF_PRIOR = 0.55
"""Twenty studies of the fourth generation gave 0.50, thirty 0.50; chance moves either by some 0.04."""


@pytest.mark.slow
def test_unseen_phantoms_are_graded_far_better_than_by_the_prior(tmp_path):
    figures = phantom_score(tmp_path, studies=20)
    assert figures["score"]["mean"] < SHARE_OF_PRIOR * figures["prior"]["mean"], figures
