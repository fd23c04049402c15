from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lumbar_kernel.archive import shard_task
from lumbar_kernel.archive.ids import IdSet
from lumbar_kernel.archive.result_schema import FAILED, GRADED, PARTLY
from lumbar_kernel.archive.results import ResultSet
from lumbar_kernel.archive.shard_task import RUN_FILE, OvertakenError, Work, record_lost, write_outcome
from lumbar_kernel.archive.shards import Shard
from lumbar_kernel.archive.status import RECENT_SECONDS, archive_status
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.report import Failure, SeriesReport, StudyReport
from lumbar_kernel.runtime.messages import Ready, Update
from lumbar_kernel.runtime.persistent_worker import ShardOutcome
from lumbar_kernel.schema import ROWS, prior

WEIGHTS = "ab" * 32


def outcome_of(finished=1_700_000_000.0, **rows):
    """Studies with so many graded rows each."""
    updates = {
        name: Update(
            prior(),
            tuple(("a", "b") if place < count else () for place in range(len(ROWS))),
            StudyReport(name, graded_rows=count, series=(SeriesReport("5 T2 of Doe", "Axial T2", 9, "Doe"),)),
        )
        for name, count in rows.items()
    }
    return ShardOutcome(updates=updates, seconds={"a": 1.5}, ready=Ready("cpu", WEIGHTS, {}), finished=finished)


@pytest.fixture
def results(tmp_path):
    return ResultSet(Folder.of(tmp_path), WEIGHTS)


@pytest.fixture
def work(results):
    results.out.write_json(RUN_FILE, {"run": "1", "weights_sha256": WEIGHTS})
    return Work("1", results.out / "index", results.out, results, None, "cpu", 60.0)


def rows_of(folder):
    return [row for name in folder.names() for row in folder.parquet(name).read().to_pylist()]


def test_a_study_has_a_row_and_each_of_its_grades_has_one(results):
    results.write(["a", "b", "c"], outcome_of(a=25, b=10))
    studies, grades = rows_of(results.studies), rows_of(results.grades)
    assert [(row["study_id"], row["status"]) for row in studies] == [("a", GRADED), ("b", PARTLY), ("c", FAILED)]
    assert [row["row_id"] for row in grades] == [f"{name}_{row}" for name in "abc" for row in ROWS]
    assert {row["source"] for row in grades if row["study_id"] == "c"} == {"prior"}
    assert grades[0]["members"] == ["a", "b"]
    assert grades[-1]["members"] == []
    np.testing.assert_array_equal(
        [[row[key] for key in ("normal_mild", "moderate", "severe")] for row in grades[:25]], prior()
    )
    assert studies[0]["series"] == [{"series_id": "5", "role": "Axial T2", "slices": 9}]
    assert studies[2]["failures"][0]["type"] == "NotGraded"


def test_a_shard_that_is_written_again_replaces_itself(results):
    for _ in range(2):
        results.write(["a", "b"], outcome_of(a=25, b=25))
    assert len(results.studies.names()) == len(results.grades.names()) == 1
    assert len(results.done()) == 2


def test_grades_without_their_studies_are_removed(results):
    results.write(["a"], outcome_of(a=25))
    results.write(["b"], outcome_of(b=25))
    results.studies.remove(results.shard_name(["b"]))
    (results.grades.local / ".part-1.parquet.0000.part").write_bytes(b"half")
    results.remove_unfinished()
    assert [row["study_id"] for row in rows_of(results.grades)] == ["a"] * 25
    assert len(list(results.grades.local.iterdir())) == 1


def test_failed_studies_can_be_forgotten_and_graded_again(results):
    results.write(["a", "b", "c"], outcome_of(a=25, b=10))
    results.write(["d"], outcome_of())
    assert results.forget_failed() == 2
    assert [row["study_id"] for row in rows_of(results.studies)] == ["a", "b"]
    assert {row["study_id"] for row in rows_of(results.grades)} == {"a", "b"}
    results.write(["c"], outcome_of(c=25))
    results.write(["d"], outcome_of())
    assert sorted(row["study_id"] for row in rows_of(results.studies)) == ["a", "b", "c", "d"]
    assert len(rows_of(results.grades)) == 4 * len(ROWS)
    assert (results.forget_failed(), len(results.done())) == (1, 3)


def test_other_weights_have_a_partition_of_their_own(results, tmp_path):
    other = ResultSet(results.out, "cd" * 32)
    results.write(["a"], outcome_of(a=25))
    assert len(other.done()) == 0
    other.write(["a"], outcome_of(a=25))
    assert len({path.parent.name for path in tmp_path.glob("grades/*/*.parquet")}) == 2
    assert pq.read_table(tmp_path / "grades").num_rows == 50


def test_a_submission_holds_all_grades_of_the_studies_asked_for(results):
    results.write(["a", "gone"], outcome_of(a=25, gone=25))
    head, *lines = results.submission_lines(IdSet.of([["a", "to come"]]))
    assert head == "row_id,normal_mild,moderate,severe"
    assert [line.partition(",")[0] for line in lines] == [f"a_{row}" for row in ROWS]
    np.testing.assert_array_equal([list(map(float, line.split(",")[1:])) for line in lines], prior())


def test_a_run_that_was_overtaken_writes_no_more(work, results):
    results.out.write_json(RUN_FILE, {"run": "2", "weights_sha256": WEIGHTS})
    with pytest.raises(OvertakenError):
        write_outcome(work, Shard("part", (0,), ("a",)), outcome_of(a=25))
    assert results.studies.names() == []


def test_a_study_that_ray_gave_up_is_recorded_with_its_cause(work, results):
    tally = record_lost(work, Shard("part", (0,), ("a",)), "WorkerCrashedError")
    assert (tally.studies, dict(tally.failed)) == (1, {"the process ended": 1})
    (row,) = rows_of(results.studies)
    assert row["failures"] == [{"stage": "grade", "type": "WorkerCrashedError", "reason": "the process ended"}]
    assert len(rows_of(results.grades)) == 25


def write_index(folder, *names):
    about = {"data": "", "split": "", "ids": "", "version": 1, "root": "/", "skipped": {}}
    folder.write_json("index.json", {**about, "studies": len(names), "files": 0, "bytes": 0})
    table = pa.table({"study_id": names, "study_number": range(len(names))})
    (folder / "studies").write_table("part-00000.parquet", table)


def test_status_counts_reasons_and_the_rate_of_the_last_hour(work, results):
    write_index(work.index, "old", *"abcd", "a2", "b2", "c2", *(f"to come {number}" for number in range(12)))
    begin = 1_700_000_000.0
    results.write(["old"], outcome_of(begin - 2 * RECENT_SECONDS, old=25))
    for place, name in enumerate("abc"):
        results.write([name, f"{name}2"], outcome_of(begin + 60.0 * place, **{name: 25, f"{name}2": 3}))
    outcome = outcome_of(begin + 120.0)
    outcome.lost["d"] = Failure("localise", "ProcessDied", "the process ended with exit code 1")
    results.write(["d"], outcome)
    status = archive_status(results.out)
    assert (status.studies, status.done) == (20, 8)
    assert status.by_status == {"graded": 4, "partly": 3, "failed": 1}
    assert status.reasons == {"the process ended": 1}
    assert status.an_hour == pytest.approx(5 / 120 * 3600)
    assert status.hours_left == pytest.approx(12 / 150)
    assert "failed: 1 the process ended" in status.as_text()
    assert "150 studies an hour, 0.1 hours left" in status.as_text()


def test_status_of_nothing_says_what_to_do(tmp_path, work, results):
    with pytest.raises(ConfigError, match="no finished index"):
        archive_status(Folder.of(tmp_path / "other"))
    write_index(work.index, "a", "b")
    assert archive_status(results.out).as_text().startswith("0 of 2 studies done")


def test_results_of_studies_that_the_index_no_longer_has_do_not_count(work, results):
    write_index(work.index, "a", "b")
    results.write(["a", "gone"], outcome_of(a=25))
    results.write(["b"], outcome_of(b=25))
    status = archive_status(results.out)
    assert status.as_text().startswith("2 of 2 studies done")
    assert (status.by_status, status.reasons) == ({"graded": 2}, {})


@pytest.mark.parametrize("changed", [{}, {"study_seconds": 90.0}, {"device": "cuda"}])
def test_a_worker_is_kept_for_the_next_shard_until_an_option_changes(work, monkeypatch, changed):
    made = []

    class Worker:
        def __init__(self, **options):
            made.append(options)

        def stop(self):
            made.append("stopped")

    monkeypatch.setattr(shard_task, "PersistentWorker", Worker)
    monkeypatch.setattr(shard_task, "_kept", {})
    one, other = shard_task._worker(work), shard_task._worker(replace(work, **changed))
    assert (one is other) == (not changed)
    assert made[0] == {"weights": None, "device": "cpu", "study_seconds": 60.0}
    assert made[1:] == (["stopped", {**made[0], **changed}] if changed else [])
    shard_task.stop_worker()
