"""Small versions of `benchmarks.faults`; the large counts are run by hand and stand in the README."""

from benchmarks.faults import budgets, kills


def test_killed_runs_leave_valid_files_and_resume_to_the_same_bytes(dataset, tmp_path):
    found = kills(dataset, tmp_path, count=3, seed=2)
    assert found["kills"] >= 1
    assert found["valid"] == found["resumed_identical"] == found["kills"]


def test_budgets_are_kept_by_the_whole_process(dataset, tmp_path):
    rows = list(budgets(dataset, tmp_path, seconds=(0.0, 12.0, 90.0)))
    assert all(row["valid"] for row in rows)
    assert all(row["left"] >= 0 for row in rows[1:])  # a process that may take no time still has to start
    assert rows[0]["graded"] == 0
    assert rows[-1]["graded"] == 2
    assert rows[-1]["score"] < rows[0]["score"]
