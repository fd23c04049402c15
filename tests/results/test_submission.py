import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumbar_kernel.errors import SubmissionError
from lumbar_kernel.results.submission import load_submission, submission_text, write_submission
from lumbar_kernel.schema import ROWS, SUBMISSION_COLUMNS, prior, row_ids


def random_grades(seed=0, *, studies=("30", "4", "100"), sharpness=1.0):
    """Random probabilities of several studies, near one-hot for a small sharpness."""
    generator = np.random.default_rng(seed)
    return {study: generator.dirichlet(np.full(3, sharpness), size=25) for study in studies}


def test_the_file_holds_the_grades_in_the_order_given(tmp_path):
    grades = random_grades()
    write_submission(grades, tmp_path / "submission.csv")
    table = pd.read_csv(tmp_path / "submission.csv")
    assert tuple(table.columns) == SUBMISSION_COLUMNS
    assert list(table["row_id"]) == [f"{study}_{row}" for study in ("30", "4", "100") for row in ROWS]
    np.testing.assert_allclose(table.iloc[:, 1:], np.concatenate(list(grades.values())), atol=3e-6)


@given(st.integers(0, 10_000), st.sampled_from([0.001, 0.1, 1.0]))
def test_written_rows_sum_to_one_exactly_and_no_grade_is_impossible(seed, sharpness):
    lines = submission_text(random_grades(seed, studies=("1",), sharpness=sharpness)).splitlines()[1:]
    millionths = [[int(value.replace(".", "")) for value in line.split(",")[1:]] for line in lines]
    assert {sum(row) for row in millionths} == {1_000_000}
    assert min(min(row) for row in millionths) >= 1


def test_the_same_grades_give_the_same_bytes(tmp_path):
    for name in ("a.csv", "b.csv"):
        write_submission(random_grades(3), tmp_path / name)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert b"\r" not in (tmp_path / "a.csv").read_bytes()


def test_a_third_everywhere_is_written_as_probabilities():
    lines = submission_text({"7": np.full((25, 3), 1 / 3)}).splitlines()
    assert lines[1] == f"7_{ROWS[0]},0.333334,0.333333,0.333333"


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "not finite"), (np.inf, "not finite"), (-0.1, "negative"), (0.9, "do not sum")]
)
def test_bad_grades_are_named_and_the_last_good_file_stays(tmp_path, value, message):
    path = tmp_path / "submission.csv"
    write_submission({"1": prior()}, path)
    before = path.read_bytes()
    bad = prior()
    bad[3, 1] = value
    with pytest.raises(SubmissionError, match=f"{message}.*2_{ROWS[3]}"):
        write_submission({"1": prior(), "2": bad}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_no_studies_and_a_wrong_shape_are_refused():
    with pytest.raises(SubmissionError, match="no studies"):
        submission_text({})
    with pytest.raises(SubmissionError, match=r"'1'.*\(24, 3\)"):
        submission_text({"1": prior()[:24]})


def test_a_study_id_with_a_comma_survives_the_file(tmp_path):
    write_submission({"a,b_c": prior()}, tmp_path / "submission.csv")
    assert list(load_submission(tmp_path / "submission.csv")) == list(row_ids("a,b_c"))


def test_a_sum_that_misses_one_by_a_thousandth_is_refused_and_rounding_is_not():
    exact = prior()
    submission_text({"1": exact * (1 + 1e-7)})
    with pytest.raises(SubmissionError, match="do not sum to one"):
        submission_text({"1": exact * 1.001})


def test_of_many_bad_rows_five_are_named_and_the_others_counted():
    with pytest.raises(SubmissionError, match=r"\(25\): 1_.* and 20 more") as refused:
        submission_text({"1": np.full((25, 3), 0.2)})
    assert str(refused.value).count("[0.2, 0.2, 0.2]") == 5
