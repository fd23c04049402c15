import numpy as np
import pytest

from evaluation.study_interval import study_interval
from tests.training.conftest import LOSS_KEYS, graded_rows
from training.evaluation_metrics import (
    LocatedPoints,
    RankedLevels,
    location_metric,
    loss_metric,
    other_model_loss,
    ranking_metric,
)


def test_a_loss_figure_counts_rows_and_studies_and_brackets_its_loss():
    figure = loss_metric(graded_rows())
    assert set(figure) == LOSS_KEYS
    assert (figure["n"], figure["studies"]) == (400, 80)
    assert figure["low"] < figure["loss"] < figure["high"]
    assert figure["loss"] < figure["prior"]


def test_the_interval_draws_whole_studies():
    """A figure that is constant within studies varies like the mean of so many studies, not of so many rows."""
    value = np.repeat(np.random.default_rng(0).normal(size=50), 20)
    low, high = study_interval(np.repeat(np.arange(50).astype(str), 20), lambda rows: float(value[rows].mean()))
    assert 0.35 < high - low < 0.75


def test_location_shares_are_of_all_marks():
    distance = np.array([0.01, 0.025, 0.05, np.inf])
    figure = location_metric(
        LocatedPoints(np.array(["a", "a", "b", "b"]), distance, np.array([True, True, True, False]))
    )
    assert [figure[key] for key in figure] == [0.25, 0.5, 0.75, 0.75, 4, 2]


def test_another_model_is_scored_on_the_rows_it_predicts():
    rows = graded_rows()
    assert other_model_loss(rows, {"nobody": np.ones(3) / 3}) is None
    others = {str(row): np.ones(3) / 3 for row in rows.row_id[:10]}
    assert other_model_loss(rows, others) == (pytest.approx(np.log(3)), 10)


def test_ranking_is_within_levels():
    level = np.repeat([0, 1], 100).astype(np.int8)
    narrow = np.tile([False, True], 100)
    group = (np.arange(200) // 10).astype(str)
    levels = RankedLevels(group, level, narrow, narrow + 10.0 * level)
    assert ranking_metric(levels)["area"] == 1
    blind = RankedLevels(group, level, narrow, 1.0 * level)
    assert ranking_metric(blind)["area"] == 0.5


def test_boxes_that_leave_nothing_to_compare_have_no_area():
    level = np.arange(5, dtype=np.int8)
    rows = RankedLevels(np.array(["one"] * 5), level, level > 2, np.linspace(0, 1, 5))
    figure = ranking_metric(rows)
    assert np.isnan([figure["area"], figure["low"], figure["high"]]).all()
    assert figure["n"] == 5
