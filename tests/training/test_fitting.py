import numpy as np
import pytest

from lumbar_kernel.results.metric import TERMS, StudyTerms, weighted_log_loss
from lumbar_kernel.schema import CANAL
from tests.training.conftest import graded_rows
from training.fitting import FACTORS, UNCHANGED, across_folds, best_factor, best_option, factor_of_others, fit, shifted


def test_what_a_member_overstates_is_found():
    sharp = graded_rows(4000, sharpen=2.0)
    temperature, bias = fit(sharp.labels, sharp.probabilities)
    # The weighted loss wants the probabilities times the weights, so that is what the bias should say.
    assert temperature == pytest.approx(2.0, abs=0.25)
    assert bias == pytest.approx(np.log([1.0, 2.0, 4.0]), abs=0.3)
    taken_back = shifted(CANAL, sharp.probabilities, (temperature, bias))
    assert weighted_log_loss(sharp.labels, taken_back) < weighted_log_loss(sharp.labels, sharp.probabilities) - 0.1
    assert shifted(CANAL, sharp.probabilities, UNCHANGED) == pytest.approx(sharp.probabilities, abs=1e-8)


def test_a_fold_is_measured_with_what_was_fitted_on_the_others_by_its_rows():
    folds = np.array([0, 0, 0, 1], np.int8)
    assert across_folds(folds, lambda others: others.sum(), lambda held, fitted: float(fitted)) == (3 * 1 + 1 * 3) / 4


def test_an_option_is_chosen_on_the_other_folds_and_helps_where_it_holds_on_its_own():
    folds = np.array([0, 0, 1, 1], np.int8)

    def tried(*losses):
        table = np.array(losses, float)
        return best_option(folds, lambda chosen, option: float(table[option, chosen].mean()), len(table))

    everywhere, best = tried([1, 1, 1, 1], [0.5, 0.5, 0.6, 0.6])
    assert everywhere.before == 1
    assert everywhere.after == pytest.approx(0.55)
    assert everywhere.helps
    assert best == 1
    in_one_fold, best = tried([1, 1, 1, 1], [0, 0, 1.5, 1.5])
    assert in_one_fold.after == pytest.approx(1.25)
    assert not in_one_fold.helps
    assert best == 1


def test_the_factor_of_a_fold_is_the_best_of_the_others():
    """Studies of fold 0 are best graded with the first factor, the others with the last."""
    folds = np.array([0, 1, 1], np.int8)
    best = np.array([0, len(FACTORS) - 1, len(FACTORS) - 1])
    columns = np.ones((3, len(TERMS)))
    studies, counts = np.array(["a", "b", "c"]), (3,) * 4
    losses = [columns * np.abs(best - index)[:, None] for index in range(len(FACTORS))]
    terms = [StudyTerms(studies, own, columns, counts) for own in losses]
    assert factor_of_others(terms, folds, 0) == FACTORS[-1]
    assert factor_of_others(terms, folds, 1) == FACTORS[0]
    assert best_factor(terms, folds)[1] == FACTORS[-1]
