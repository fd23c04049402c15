import numpy as np
import pytest

from evaluation.constant_grades import constant_submission
from lumbar_kernel.errors import SubmissionError, TruthError
from lumbar_kernel.results.metric import PARTS, Truth, score, weighted_log_loss
from lumbar_kernel.results.reliability import reliability
from lumbar_kernel.results.score_report import labels_and_probabilities, score_text, scored_rows
from lumbar_kernel.schema import CANAL, LEVELS, ROWS, row_ids

STUDIES = ("11", "12", "13")


@pytest.fixture
def solution():
    """All rows of three studies but one, which has no label."""
    rng = np.random.default_rng(0)
    rows = [row for study in STUDIES for row in row_ids(study)]
    return {row: int(rng.integers(3)) for row in rows if row != f"11_{ROWS[4]}"}


@pytest.fixture
def submission():
    return constant_submission(row for study in STUDIES for row in row_ids(study))


@pytest.fixture
def truth(solution):
    return Truth(STUDIES, solution)


def test_labelled_rows_of_a_whole_submission_are_scored(submission, truth, solution):
    assert scored_rows(submission, truth) == solution


def test_an_unlabelled_row_must_be_there_too(submission, truth):
    del submission[f"11_{ROWS[4]}"]
    with pytest.raises(SubmissionError, match=r"lacks 1 rows \(75 are asked for\): 11_"):
        scored_rows(submission, truth)


def test_unexpected_rows_are_refused(submission, truth):
    with pytest.raises(SubmissionError, match="unexpected 25 rows"):
        scored_rows(submission | constant_submission(row_ids("99")), truth)
    with pytest.raises(SubmissionError, match="does not end in one of the 25 targets"):
        scored_rows(submission | {"99_l9": np.ones(3) / 3}, truth)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ((0.9, 0.9, 0.9), "do not sum to one"),
        ((1.2, -0.1, -0.1), "are negative"),
        ((np.nan, 0.5, 0.5), "are not finite"),
    ],
)
def test_impossible_values_are_refused(submission, truth, values, fault):
    row = next(iter(submission))
    with pytest.raises(SubmissionError, match=f"{fault} .*{row}"):
        scored_rows(submission | {row: np.array(values)}, truth)


def test_rows_rounded_to_three_decimals_are_accepted(submission, truth, solution):
    thirds = {row: np.full(3, 0.333) for row in submission}
    assert scored_rows(thirds, truth) == solution


def test_a_subset_scores_the_studies_that_both_hold(submission, truth):
    two = {row: values for row, values in submission.items() if not row.startswith("13_")}
    with pytest.raises(SubmissionError, match="lacks 25 rows"):
        scored_rows(two, truth)
    more = two | constant_submission(row_ids("99"))
    scored = scored_rows(more, truth, subset=True)
    assert {row.split("_")[0] for row in scored} == {"11", "12"}
    with pytest.raises(SubmissionError, match="no study in common"):
        scored_rows(constant_submission(row_ids("99")), truth, subset=True)


def test_the_text_holds_counts_parts_levels_and_reliability(submission, solution):
    bins = reliability(*labels_and_probabilities(solution, submission))
    text = score_text(solution, submission, bins, draws=50)
    result = score(solution, submission)
    assert "scored 74 labelled rows (studies: 3)" in text
    assert f"mean          {result.mean:.4f}" in text
    assert text.count("95 % interval") == 5
    assert "L4/L5" in text
    assert len([line for line in text.splitlines() if line.startswith("severe ")]) == len(
        [item for item in bins if item.severity == "severe"]
    )


def test_a_study_without_any_label_must_be_there_and_is_not_scored(submission, solution):
    truth = Truth((*STUDIES, "14"), solution)
    with pytest.raises(SubmissionError, match=r"lacks 25 rows \(100 are asked for\): 14_"):
        scored_rows(submission, truth)
    assert scored_rows(submission | constant_submission(row_ids("14")), truth) == solution
    assert scored_rows(submission, truth, subset=True) == solution


def test_a_truth_without_any_label_is_refused(submission):
    with pytest.raises(TruthError, match="no grade for any of the studies \\(3\\)"):
        scored_rows(submission, Truth(STUDIES, {}))


def test_a_sum_that_misses_one_by_a_hundredth_is_refused(submission, truth):
    row = next(iter(submission))
    with pytest.raises(SubmissionError, match=f"do not sum to one .*{row}"):
        scored_rows(submission | {row: np.full(3, 0.33)}, truth)


def test_of_many_missing_rows_three_are_named(submission, truth):
    for count, more in ((3, False), (4, True)):
        fewer = dict([*submission.items()][count:])
        with pytest.raises(SubmissionError, match=f"lacks {count} rows") as refused:
            scored_rows(fewer, truth)
        assert (str(refused.value).count("11_"), "…" in str(refused.value)) == (3, more)


def test_each_loss_stands_beside_the_number_of_its_rows_and_in_the_column_of_its_level(submission, solution):
    known = {row: label for row, label in solution.items() if not row.endswith(f"{CANAL}_l2_l3")}
    lines = score_text(known, submission, [], draws=0).splitlines()
    result = score(known, submission)
    for name, value, count in zip(PARTS, (result.canal, result.foraminal), result.counts, strict=False):
        assert f"{name:<13} {value:.4f}   {count} rows" in lines
    assert any(line.startswith("any_severe") and line.endswith("   3 studies") for line in lines)
    assert any(line.startswith("mean") and line.endswith(f"   {len(known)} rows") for line in lines)
    (canal,) = (line.split()[1:] for line in lines if line.startswith(CANAL))
    for level, shown in zip(LEVELS, canal, strict=True):
        rows = {row: label for row, label in known.items() if row.endswith(f"{CANAL}_{level}")}
        expected = f"{weighted_log_loss(*labels_and_probabilities(rows, submission)):.4f}" if rows else "–"
        assert shown == expected
