import numpy as np
import pytest

from training.calibrate_confidence import FoundPoints, fit, fitted_on_others, found_margins, log_loss, reliability_rows
from training.fold_checkpoints import FoldCheckpoints


@pytest.fixture
def found():
    """Points that are right as often as a logistic model says, with a feature that means nothing."""
    rng = np.random.default_rng(0)
    features = rng.uniform(0, 1, (4000, 2))
    likely = 1 / (1 + np.exp(-(6 * features[:, 0] - 2)))
    distance = np.where(rng.uniform(size=4000) < likely, 1.0, 20.0)
    return FoundPoints(np.array([f"s{index // 10}" for index in range(4000)]), features, distance), likely


def test_the_fit_finds_the_model_behind_the_points(found):
    points, _ = found
    intercept, slope, idle = fit(points.features, points.right)
    assert intercept == pytest.approx(-2, abs=0.4)
    assert slope == pytest.approx(6, abs=0.8)
    assert idle == pytest.approx(0, abs=0.3)


def test_no_slope_falls(found):
    points, _ = found
    assert (fit(1 - points.features, points.right)[1:] >= 0).all()


def test_confidence_fitted_on_other_studies_is_reliable(found):
    points, likely = found
    estimated = fitted_on_others(points)
    assert log_loss(points.right, estimated) < log_loss(points.right, np.full(4000, points.right.mean())) - 0.05
    assert log_loss(points.right, estimated) == pytest.approx(log_loss(points.right, likely), abs=0.01)
    rows = list(reliability_rows(points.right, estimated))
    assert sum(count for _, count, _, _ in rows) == 4000
    assert all(abs(mean - observed) < 0.08 for _, count, mean, observed in rows if count > 100)


def test_a_pack_that_is_absent_is_named(tmp_path):
    with pytest.raises(ValueError, match="no marked point of spider_midsagittal and sudirman_sagittal"):
        found_margins(tmp_path, FoldCheckpoints((), out_of_fold=True))
