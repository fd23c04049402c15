import numpy as np

from benchmarks.phantom import labels
from lumbar_kernel.schema import SUBARTICULAR
from tests.benchmarks.phantom.conftest import drawn_grades


def test_label_shares_of_the_challenge_pass_and_four_points_more_fail():
    rng = np.random.default_rng(0)
    assert not [f for f in labels.marginals(drawn_grades(rng, 5000)).failed if "any severe" not in f.what]
    wrong = labels.marginals(drawn_grades(rng, 5000, more_severe=0.04)).failed
    assert len([f for f in wrong if f.what.endswith("Severe, %")]) == 15


def test_grades_that_do_not_go_together_fail():
    section = labels.correlations(drawn_grades(np.random.default_rng(0), 5000))
    assert len(section.failed) == len(section.findings)


def test_a_score_that_is_one_size_in_disguise_fails():
    rng = np.random.default_rng(0)
    sizes = [
        {"sac_area": rng.normal(size=5), "flavum": rng.normal(size=(5, 2)), "age": rng.normal()} for _ in range(300)
    ]
    scores = rng.normal(size=(300, 25))
    assert not labels.single_causes(scores, sizes).failed
    for level in range(5):
        for k, column in enumerate(labels.columns(SUBARTICULAR, level)):
            scores[:, column] = [-(item["flavum"][level, k] ** 3) for item in sizes]
    assert [(f.what.split(",")[0], f.note[:6]) for f in labels.single_causes(scores, sizes).failed] == [
        ("subarticular stenosis", "flavum")
    ]
