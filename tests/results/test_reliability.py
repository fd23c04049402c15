import itertools

import cv2
import numpy as np
import pytest

from lumbar_kernel.results.reliability import BINS, draw_reliability, reliability
from lumbar_kernel.schema import SEVERITIES, SEVERITY_WEIGHTS


@pytest.fixture(scope="module")
def drawn():
    """Labels drawn from frequencies, and the probabilities that score best for these."""
    rng = np.random.default_rng(1)
    often = rng.dirichlet((4.0, 1.0, 0.6), 4000)
    weighted = often * SEVERITY_WEIGHTS
    return np.array([rng.choice(3, p=row) for row in often]), weighted / weighted.sum(axis=1, keepdims=True)


def test_every_row_is_counted_once_per_grade(drawn):
    table = reliability(*drawn)
    for severity in SEVERITIES:
        assert sum(item.n for item in table if item.severity == severity) == 4000
    assert {(item.low, item.high) for item in table} <= set(itertools.pairwise(BINS))


def test_the_best_probabilities_lie_on_the_diagonal_and_sharpened_ones_do_not(drawn):
    labels, probabilities = drawn
    sharp = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)

    def distance(values):
        return max(abs(item.predicted - item.observed) for item in reliability(labels, values) if item.n > 200)

    assert distance(probabilities) < 0.05
    assert distance(sharp) > 0.1


def test_certain_probabilities_are_in_the_last_bin():
    table = reliability(np.array([2, 2]), np.eye(3)[[2, 2]])
    assert [(item.high, item.n) for item in table if item.severity == "severe"] == [(1.0, 2)]


def test_the_plot_has_the_format_that_its_name_says(drawn, tmp_path):
    table = reliability(*drawn)
    for suffix, start in ((".png", b"\x89PNG"), (".jpg", b"\xff\xd8\xff")):
        path = tmp_path / f"plot{suffix}"
        draw_reliability(table, path)
        assert path.read_bytes().startswith(start)


def test_the_plot_has_a_panel_for_each_grade(drawn, tmp_path):
    path = tmp_path / "reliability.png"
    draw_reliability(reliability(*drawn), path)
    picture = cv2.imread(str(path))
    height, width = picture.shape[:2]
    assert width == 3 * height
    for k in range(3):
        assert (picture[:, k * height : (k + 1) * height] < 128).any()
