from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.schema import CANAL, SUBARTICULAR
from lumbar_kernel.views import VIEWS
from tests.training.conftest import grade_examples
from training.member_predictions import MemberPredictions, member_rows

VIEW = "axial_t2"


@pytest.fixture
def members():
    """Two members: the first predicts all four crops, the second only the last two."""
    rng = np.random.default_rng(0)
    heads = len(VIEWS[VIEW].groups)
    first, second = (rng.dirichlet((1, 1, 1), (4, heads)) for _ in range(2))
    second[:2] = np.nan
    row_id = np.array([[f"{study}_canal", f"{study}_recess"] for study in "abcd"])
    examples = replace(grade_examples(list("abcd")), row_id=row_id)
    return MemberPredictions(VIEW, CANAL, examples, {"first": first, "second": second})


def test_the_head_is_that_of_the_condition(members):
    assert VIEWS[VIEW].groups[members.head] == CANAL


def test_a_crop_is_averaged_over_the_members_that_predict_it(members):
    first, second = (own[:, members.head] for own in members.predictions.values())
    mean = members.combined({"first": 3.0, "second": 1.0}).probabilities
    assert mean[:2] == pytest.approx(first[:2])
    assert mean[2:] == pytest.approx((3 * first[2:] + second[2:]) / 4)


def test_members_are_compared_on_the_crops_that_all_of_them_predict(members):
    common = members.where_all_predict()
    for own in common.predictions.values():
        assert np.isnan(own[:2]).all()
        assert np.isfinite(own[2:]).all()


def test_each_member_alone_is_its_own_prediction(members):
    rows = {member: graded for _, member, graded in member_rows({"canal_axial": members})}
    assert set(rows) == {"first", "second"}
    assert rows["first"].probabilities == pytest.approx(members.predictions["first"][:, members.head])
    assert members.condition != SUBARTICULAR
