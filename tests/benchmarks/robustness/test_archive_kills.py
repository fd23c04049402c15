"""What the benchmark of lost nodes would notice."""

import pytest

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

from benchmarks.robustness.archive_kills import TOLERANCE, faults_of, unexplained  # noqa: E402
from lumbar_kernel.archive.result_schema import GRADES, STUDIES  # noqa: E402
from lumbar_kernel.archive.storage import Folder  # noqa: E402
from lumbar_kernel.schema import ROWS, SEVERITIES, prior  # noqa: E402


def write(out, name, studies, *, shift=0.0):
    folder = Folder.of(out)
    grades = [
        {"study_id": study, "row_id": f"{study}_{row}", **dict(zip(SEVERITIES, values + shift, strict=True))}
        for study in studies
        for row, values in zip(ROWS, prior(), strict=True)
    ]
    rows = [{"study_id": study, "graded_rows": 0, "missing": [], "failures": []} for study in studies]
    (folder / "grades" / "result_set=x").write_table(f"{name}.parquet", pa.Table.from_pylist(grades, schema=GRADES))
    (folder / "studies" / "result_set=x").write_table(f"{name}.parquet", pa.Table.from_pylist(rows, schema=STUDIES))


@pytest.fixture
def expected():
    return dict.fromkeys("ab", prior())


def test_whole_results_have_no_faults(tmp_path, expected):
    write(tmp_path, "one", "ab")
    assert faults_of(tmp_path, expected) == []


def test_lost_repeated_and_changed_studies_are_seen(tmp_path, expected):
    write(tmp_path, "one", "a", shift=2 * TOLERANCE)
    write(tmp_path, "two", "a", shift=2 * TOLERANCE)
    found = " ".join(faults_of(tmp_path, expected))
    assert "a is there 2 times" in found
    assert "b is lost" in found
    assert "a differs by" in found
    assert f"row a_{ROWS[0]} is there 2 times" in found


def test_a_broken_study_without_a_reason_is_seen(tmp_path):
    write(tmp_path, "one", "ab")
    assert unexplained(tmp_path, {"a": "cut"}) == ["a (cut) has no reason"]
