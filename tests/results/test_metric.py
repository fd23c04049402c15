import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.constant_grades import constant_submission
from lumbar_kernel.errors import SubmissionError
from lumbar_kernel.results.metric import (
    bootstrap_interval,
    load_solution,
    load_truth,
    score,
    weighted_log_loss,
)
from lumbar_kernel.results.submission import load_submission, write_submission
from lumbar_kernel.schema import CANAL, FORAMINAL, GROUPS, ROWS, SUBARTICULAR, group_of

DATA = Path(__file__).parents[3] / "shared" / "data"
SEEDS = st.integers(0, 10_000)


def random_case(seed, *, studies=12):
    """A solution with a tenth of its rows left out and probabilities for every row."""
    generator = np.random.default_rng(seed)
    rows = [f"{study}_{row}" for study in range(100, 100 + studies) for row in ROWS]
    solution = {row: int(generator.choice(3, p=[0.6, 0.25, 0.15])) for row in rows if generator.random() > 0.1}
    return solution, dict(zip(rows, generator.dirichlet(np.ones(3), size=len(rows)), strict=True))


@pytest.fixture(scope="module")
def truth():
    """The real solution of folds 0-3."""
    path = DATA / "rsna_tables" / "train.csv"
    if not path.exists():
        pytest.skip("needs ../shared/data/rsna_tables/train.csv")
    return load_solution(path)


def test_a_case_worked_by_hand():
    # canal: severe at .5 (weight 4), normal at .8 (1), normal at .5 (1): (4 ln 2 + .223144 + ln 2) / 6 = .614813
    # any severe: study 1 true at max(.5, .1), weight 4; study 2 false at .25: (4 ln 2 + .287682) / 5 = .612054
    # foraminal: moderate at .25: ln 4 = 1.386294; subarticular: normal at .9: .105361
    solution = {
        "1_spinal_canal_stenosis_l1_l2": 2,
        "1_spinal_canal_stenosis_l2_l3": 0,
        "2_spinal_canal_stenosis_l1_l2": 0,
        "1_left_neural_foraminal_narrowing_l4_l5": 1,
        "2_right_subarticular_stenosis_l5_s1": 0,
    }
    rows = [[0.2, 0.3, 0.5], [0.8, 0.1, 0.1], [0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.9, 0.05, 0.05]]
    result = score(solution, dict(zip(solution, np.array(rows), strict=True)))
    assert result.canal == pytest.approx(0.614813, abs=1e-6)
    assert result.any_severe == pytest.approx(0.612054, abs=1e-6)
    assert result.foraminal == pytest.approx(1.386294, abs=1e-6)
    assert result.subarticular == pytest.approx(0.105361, abs=1e-6)
    assert result.mean == pytest.approx((0.614813 + 0.612054 + 1.386294 + 0.105361) / 4, abs=1e-6)
    assert result.counts == (3, 1, 1, 2)


@settings(max_examples=20)
@given(SEEDS)
def test_each_term_is_the_weighted_log_loss_of_scikit_learn(seed):
    log_loss = pytest.importorskip("sklearn.metrics").log_loss
    solution, submission = random_case(seed)
    result = score(solution, submission)
    for group, value in zip(GROUPS, (result.canal, result.foraminal, result.subarticular), strict=True):
        rows = [row for row in solution if group_of(row) == group]
        labels = np.array([solution[row] for row in rows])
        predicted = np.array([submission[row] for row in rows])
        assert value == pytest.approx(log_loss(np.eye(3)[labels], predicted, sample_weight=2.0**labels))
    studies = {row.split("_")[0]: [] for row in solution}
    for row in solution:
        if group_of(row) == CANAL:
            studies[row.split("_")[0]].append((solution[row], submission[row][2]))
    severe = [max(label for label, _ in pairs) == 2 for pairs in studies.values()]
    weights = [2.0 ** max(label for label, _ in pairs) for pairs in studies.values()]
    highest = [max(chance for _, chance in pairs) for pairs in studies.values()]
    assert result.any_severe == pytest.approx(log_loss(severe, highest, sample_weight=weights, labels=[False, True]))
    assert result.mean == pytest.approx(
        np.mean([result.canal, result.foraminal, result.subarticular, result.any_severe])
    )


@settings(max_examples=20)
@given(SEEDS, st.floats(0.01, 100))
def test_row_order_and_row_scale_do_not_matter(seed, scale):
    solution, submission = random_case(seed)
    shuffled = {row: scale * submission[row] for row in reversed(submission)}
    expected, result = score(solution, submission), score(dict(reversed(solution.items())), shuffled)
    assert dataclasses.astuple(result)[:5] == pytest.approx(dataclasses.astuple(expected)[:5])


def test_the_truth_scores_nothing_and_certain_error_is_cut_off_like_scikit_learn():
    solution, _ = random_case(0)
    right = score(solution, {row: np.eye(3)[label] for row, label in solution.items()})
    wrong = score(solution, {row: np.eye(3)[label - 1] for row, label in solution.items()})
    assert right.mean == pytest.approx(0, abs=1e-12)
    assert wrong.foraminal == pytest.approx(-np.log(np.finfo(float).eps))


def test_rows_without_a_label_are_not_scored():
    solution, submission = random_case(1)
    unscored = {row: np.array([0.0, 0.0, 1.0]) for row in submission if row not in solution}
    assert score(solution, submission | unscored) == score(solution, submission)


def test_one_group_can_be_scored_alone():
    solution, submission = random_case(2)
    foraminal = {row: values for row, values in submission.items() if group_of(row) == FORAMINAL}
    result = score(solution, foraminal, groups=(FORAMINAL,))
    assert result.foraminal == score(solution, submission).foraminal
    assert np.isnan([result.canal, result.subarticular, result.any_severe, result.mean]).all()


def test_a_missing_row_and_impossible_rows_are_named():
    solution, submission = random_case(3)
    row = next(iter(solution))
    with pytest.raises(SubmissionError, match=f"lacks 1 scored rows, first {row}"):
        score(solution, {key: value for key, value in submission.items() if key != row})
    for bad in ([np.nan, 0.5, 0.5], [-0.1, 0.6, 0.5], [0.0, 0.0, 0.0]):
        with pytest.raises(SubmissionError, match=f"not probabilities, first {row}"):
            score(solution, submission | {row: np.array(bad)})


def test_a_solution_without_rows_or_with_an_unknown_target_is_refused():
    with pytest.raises(ValueError, match="holds no row"):
        score({}, {})
    with pytest.raises(ValueError, match="1_spinal_canal_stenosis_l9"):
        score({"1_spinal_canal_stenosis_l9": 0}, {"1_spinal_canal_stenosis_l9": np.ones(3)})


def test_the_interval_holds_the_score_and_repeats_with_its_seed():
    solution, submission = random_case(4, studies=60)
    result = score(solution, submission)
    interval = bootstrap_interval(solution, submission, seed=1, draws=300)
    for name, (lower, upper) in interval.items():
        assert lower < getattr(result, name) < upper
    assert interval == bootstrap_interval(solution, submission, seed=1, draws=300)
    assert interval != bootstrap_interval(solution, submission, seed=2, draws=300)


def test_the_interval_narrows_with_more_studies():
    few, many = (bootstrap_interval(*random_case(5, studies=count), seed=0, draws=300) for count in (20, 320))
    assert np.diff(many["mean"]) < np.diff(few["mean"]) / 2


def test_truth_and_submission_survive_their_files(tmp_path):
    path = tmp_path / "truth.csv"
    cells = {ROWS[0]: "Severe", ROWS[1]: "Normal/Mild", ROWS[2]: "Moderate"}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["study_id", *reversed(ROWS)], restval="")
        writer.writeheader()
        writer.writerow({"study_id": "5", **cells})
    assert load_solution(path) == {f"5_{ROWS[0]}": 2, f"5_{ROWS[1]}": 0, f"5_{ROWS[2]}": 1}
    grades = np.random.default_rng(0).dirichlet(np.ones(3), size=25)
    write_submission({"5": grades}, tmp_path / "submission.csv")
    loaded = load_submission(tmp_path / "submission.csv")
    np.testing.assert_allclose([loaded[f"5_{row}"] for row in ROWS], grades, atol=3e-6)


def test_a_study_without_any_grade_stays_in_the_truth(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text(f"study_id,{','.join(ROWS)}\n7{',' * 25}\n5,Severe{',' * 24}\n")
    truth = load_truth(path)
    assert truth.studies == ("7", "5")
    assert truth.grades == load_solution(path) == {f"5_{ROWS[0]}": 2}


@pytest.mark.parametrize("grade", ["severe", "2"])
def test_a_grade_in_another_spelling_is_refused(tmp_path, grade):
    path = tmp_path / "truth.csv"
    path.write_text(f"study_id,{','.join(ROWS)}\n5,{grade}{',' * 24}\n")
    with pytest.raises(ValueError, match=f"{ROWS[0]} of study 5 is '{grade}'"):
        load_solution(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row,a\n", "must have the columns"),
        ("row_id,normal_mild,moderate,severe\na,1,0,0\na,1,0,0\n", "a more than once"),
        ("row_id,normal_mild,moderate,severe\na,1,0\n", "a must hold 3 numbers"),
        ("row_id,normal_mild,moderate,severe\na,1,0,x\n", "a must hold 3 numbers"),
    ],
)
def test_a_submission_file_in_another_layout_is_refused(tmp_path, text, message):
    path = tmp_path / "submission.csv"
    path.write_text(text)
    with pytest.raises(SubmissionError, match=message):
        load_submission(path)


def test_a_truth_file_in_another_layout_is_refused(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("study_id,severity\n5,Severe\n")
    with pytest.raises(ValueError, match=r"25 of train\.csv"):
        load_solution(path)


@pytest.mark.real
def test_a_third_everywhere_scores_what_it_must(truth):
    result = score(truth, constant_submission(truth, np.full((25, 3), 1 / 3)))
    assert [result.canal, result.foraminal, result.subarticular] == pytest.approx([np.log(3)] * 3)
    assert result.mean == pytest.approx(0.999, abs=5e-4)


@pytest.mark.real
def test_the_prior_scores_what_the_whole_training_table_gives(truth):
    result = score(truth, constant_submission(truth))
    assert dataclasses.astuple(result)[:5] == pytest.approx((0.706, 0.805, 0.951, 0.698, 0.790), abs=0.01)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "group", "expected"),
    [
        ("yu4u_sagittal2_axial", CANAL, 0.285),
        ("yu4u_sagittal2_baseline", CANAL, 0.285),
        ("yu4u_sagittal2_swint", CANAL, 0.285),
        ("yu4u_sagittal1_baseline", FORAMINAL, 0.487),
        ("yu4u_sagittal1_s1_swint", FORAMINAL, 0.487),
        ("yu4u_axial_baseline", SUBARTICULAR, 0.551),
        ("yu4u_axial_swint", SUBARTICULAR, 0.551),
    ],
)
def test_public_out_of_fold_predictions_score_what_is_known_of_them(truth, name, group, expected):
    path = DATA / "oof" / f"{name}_submission.csv"
    if not path.exists():
        pytest.skip(f"needs ../shared/data/oof/{path.name}")
    submission = load_submission(path)
    result = score({row: label for row, label in truth.items() if row in submission}, submission, groups=(group,))
    values = dict(zip(GROUPS, (result.canal, result.foraminal, result.subarticular), strict=True))
    assert values[group] == pytest.approx(expected, abs=0.01)
    if group == CANAL:
        assert result.any_severe == pytest.approx(0.281, abs=0.01)


def test_draws_without_a_condition_do_not_take_the_interval_away():
    solution, submission = random_case(5, studies=4)
    labelled = {row: label for row, label in solution.items() if "subarticular" not in row or row.startswith("100_")}
    assert any("subarticular" in row for row in labelled)
    interval = bootstrap_interval(labelled, submission, seed=0, draws=300)
    assert np.isfinite([*interval["subarticular"], *interval["mean"]]).all()


def test_intervals_hold_95_percent():
    rng = np.random.default_rng(0)
    severe = rng.uniform(0.05, 0.5, 400)
    rows = {f"{study}_{CANAL}_l1_l2": np.array([1 - p, 0.0, p]) for study, p in enumerate(severe)}
    losses = -np.log(1 - severe)
    expected = losses.mean() + 1.96 * losses.std() / 20 * np.array([-1, 1])
    low, high = bootstrap_interval(dict.fromkeys(rows, 0), rows, seed=0, draws=2000)["canal"]
    assert high - low == pytest.approx(expected[1] - expected[0], rel=0.07)


def test_a_certain_error_costs_36_in_the_loss_of_a_condition_as_in_the_score():
    row, certain = f"7_{CANAL}_l1_l2", np.array([1.0, 0.0, 0.0])
    loss = weighted_log_loss(np.array([2]), certain[None])
    assert loss == score({row: 2}, {row: certain}).canal == pytest.approx(-np.log(np.finfo(float).eps))


@settings(max_examples=20)
@given(SEEDS, st.floats(0.01, 100))
def test_the_loss_of_a_condition_is_that_of_the_score_whatever_the_rows_sum_to(seed, scale):
    solution, submission = random_case(seed)
    rows = [row for row in solution if group_of(row) == FORAMINAL]
    labels, values = np.array([solution[row] for row in rows]), np.array([submission[row] for row in rows])
    scaled = scale * values.round(1)  # with zeros
    scaled[:, 0] += 0.1
    expected = score(solution, dict(zip(rows, scaled, strict=True)), groups=(FORAMINAL,)).foraminal
    assert weighted_log_loss(labels, scaled) == pytest.approx(expected)
