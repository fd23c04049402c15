import pytest

from benchmarks.kaggle.check import check_submission, study_ids
from lumbar_kernel.schema import SUBMISSION_COLUMNS, row_ids


def write_answer(folder, change=lambda rows: rows):
    """A data folder of two studies with an answer, the rows of which may be changed."""
    text = "study_id,series_id,series_description\n8,1,Axial T2\n8,2,Sagittal T1\n9,3,Axial T2\n"
    (folder / "test_series_descriptions.csv").write_text(text)
    rows = change([[row, "0.5", "0.25", "0.25"] for study in ("8", "9") for row in row_ids(study)])
    lines = [",".join(row) for row in [SUBMISSION_COLUMNS, *rows]]
    (folder / "submission.csv").write_text("\n".join(lines))
    return folder / "submission.csv"


def test_a_right_answer_passes_the_check(tmp_path):
    answer = write_answer(tmp_path)
    assert study_ids(tmp_path) == ["8", "9"]
    assert check_submission(answer, tmp_path) == 50


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[1:],
        lambda rows: [*rows, rows[0]],
        lambda rows: [[rows[0][0], "0.5", "0.5", "0.5"], *rows[1:]],
        lambda rows: [[rows[0][0], "nan", "0.5", "0.5"], *rows[1:]],
        lambda rows: [[rows[0][0], "-1", "1", "1"], *rows[1:]],
        lambda rows: [["7" + rows[0][0], *rows[0][1:]], *rows[1:]],
        lambda rows: [[rows[0][0], "0.5", "0.5"], *rows[1:]],
        lambda rows: [[rows[0][0], "0.25", "0.25", "0.25", "0.25"], *rows[1:]],
        lambda rows: [[rows[0][0]], *rows[1:]],
        lambda rows: [[], *rows],
    ],
    ids=["missing", "twice", "sum", "nan", "negative", "foreign", "two", "four", "none", "blank"],
)
def test_a_wrong_answer_fails_the_check(tmp_path, change):
    with pytest.raises(ValueError, match=r"rows|sum to 1"):
        check_submission(write_answer(tmp_path, change), tmp_path)


def test_an_empty_file_is_named(tmp_path):
    answer = write_answer(tmp_path)
    answer.write_text("")
    with pytest.raises(ValueError, match=r"submission\.csv is empty"):
        check_submission(answer, tmp_path)
