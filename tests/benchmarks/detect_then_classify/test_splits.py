import numpy as np

from benchmarks.detect_then_classify.splits import is_checked


def test_a_tenth_of_the_studies_is_checked_with_all_its_rows_whatever_their_order():
    study = np.repeat([str(k) for k in range(200)], 3)
    checked = is_checked(study)
    assert checked.sum() == 60
    assert {*study[checked]}.isdisjoint(study[~checked])
    assert {*study[::-1][is_checked(study[::-1])]} == {*study[checked]}
    assert is_checked(np.array(["a", "b"])).sum() == 1
