from dataclasses import replace

import numpy as np

from training.phantoms import truth_of
from training.studies import Origin, examples_of


def test_shown_landmarks_lie_inside_their_pictures(made):
    for examples in (made["sagittal"], made["axial_points"]):
        shown = examples.points[~np.isnan(examples.points).any(axis=2)]
        assert shown.min() > 0
        assert shown.max() < examples.images.shape[1]


def test_a_recess_that_no_reader_marked_is_not_learnt_as_known(phantom):
    truth = truth_of(phantom.truth)
    recesses = truth.recesses.copy()
    recesses[3, 0] = np.nan
    origin = Origin("50", 0, "rsna")
    examples = examples_of(phantom.study, replace(truth, recesses=recesses), origin, np.random.default_rng(0), views=())
    known = examples["axial_points"].known
    assert not known[3, 0]
    assert known.sum() == known.size - 1
