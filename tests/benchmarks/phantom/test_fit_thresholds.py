"""The fit of the cut-points, on scores made up for it."""

import numpy as np
import pytest

from benchmarks.phantom.fit_thresholds import fit_thresholds, measure_many, written
from benchmarks.phantom.labels import SHARES
from lumbar_kernel import schema
from lumbar_kernel.phantom import make_truth


def test_cuts_give_the_competitions_shares_at_every_level():
    scores = np.random.default_rng(0).gamma(2.0, size=(4000, 25))
    thresholds, knots = fit_thresholds(scores)
    grades = (scores[..., None] >= thresholds).sum(-1)
    for group, shares in SHARES.items():
        for level, (normal, moderate, _) in enumerate(shares):
            row = schema.row_index(group, level, 1)
            assert 100 * np.mean(grades[:, row] == 0) == pytest.approx(normal, abs=2)
            assert 100 * np.mean(grades[:, row] == 1) == pytest.approx(moderate, abs=2)
    assert np.all(np.diff(knots, axis=1) >= 0)


def test_a_fit_is_written_as_a_module():
    one = make_truth(1).measures
    rng = np.random.default_rng(0)
    many = {name: values * rng.uniform(0.8, 1.2, (30, 5)) for name, values in one.items()}
    names: dict[str, object] = {}
    exec(written(many, version=7), names)
    assert names["VERSION"] == 7
    assert names["THRESHOLDS"].shape == (25, 2)
    assert names["QUANTILES"].shape == (25, len(names["PROBITS"]))


def test_measuring_in_processes_agrees_with_measuring_one_phantom():
    from benchmarks.phantom.fit_thresholds import FIRST_SEED

    measured = measure_many(2, 2)
    assert np.allclose(measured["sac_area"][1], make_truth(FIRST_SEED + 1).measures["sac_area"])
