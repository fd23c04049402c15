import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumbar_kernel.errors import SubmissionError
from lumbar_kernel.results.atomic import write_atomic
from lumbar_kernel.results.submission import submission_table, submission_text, validate, write_submission
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
    validate(table, grades)


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


def test_a_failed_swap_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    path = tmp_path / "submission.csv"
    path.write_text("old")

    def full_disk(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_atomic("new", path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_validate_accepts_any_row_order():
    table = submission_table(random_grades())
    validate(table.sample(frac=1, random_state=0), ("100", "30", "4"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda table: table.drop(index=26), f"missing.*4_{ROWS[1]}"),
        (lambda table: table.replace({"row_id": f"4_{ROWS[0]}"}, "5_x"), f"missing.*4_{ROWS[0]}"),
        (lambda table: pd.concat([table, table.iloc[:1].assign(row_id="5_x")]), "belong to no study.*5_x"),
        (lambda table: pd.concat([table, table.iloc[:2]]), f"more than once \\(2\\): 30_{ROWS[0]}"),
        (lambda table: table.assign(severe=np.nan), "not finite"),
        (lambda table: table.assign(severe=2.0), "do not sum to one"),
        (lambda table: table.assign(severe="high"), "must be a number"),
        (lambda table: table.rename(columns={"severe": "Severe"}), "columns must be"),
        (lambda table: table.assign(extra=1), "columns must be"),
    ],
)
def test_validate_names_what_is_wrong(damage, message):
    table = damage(submission_table(random_grades()))
    with pytest.raises(SubmissionError, match=message):
        validate(table, ("30", "4", "100"))


def test_validate_misses_no_study_and_names_only_the_first_rows():
    with pytest.raises(SubmissionError, match=r"missing \(25\).*and 20 more") as caught:
        validate(submission_table(random_grades()), ("30", "4", "100", "8"))
    assert next(row_ids("8")) in str(caught.value)


def test_a_study_id_with_a_comma_survives_the_file(tmp_path):
    write_submission({"a,b_c": prior()}, tmp_path / "submission.csv")
    validate(pd.read_csv(tmp_path / "submission.csv"), ["a,b_c"])
