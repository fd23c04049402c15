import csv
import io
import re
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lumbar_kernel import __version__
from lumbar_kernel.archive import results as results_module
from lumbar_kernel.archive import shard_task
from lumbar_kernel.archive.ids import IdSet
from lumbar_kernel.archive.result_schema import FAILED, GRADED, PARTLY
from lumbar_kernel.archive.results import ResultSet
from lumbar_kernel.archive.shard_task import RUN_FILE, Work, record_lost, write_outcome
from lumbar_kernel.archive.shards import Shard
from lumbar_kernel.archive.status import HOUR, Status, archive_status
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.errors import ConfigError, OvertakenError, WorkerStartError
from lumbar_kernel.results.report import Failure, LevelReport, SeriesReport, StudyReport
from lumbar_kernel.results.submission import submission_text
from lumbar_kernel.runtime.messages import Ready, Update
from lumbar_kernel.runtime.persistent_worker import ShardOutcome
from lumbar_kernel.schema import LEVELS, ROWS, SIDES, prior
from lumbar_kernel.study import SeriesFiles, StudyFiles

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


def test_files_are_named_after_version_weights_and_studies_in_their_order(results, monkeypatch):
    assert results.name == f"result_set={__version__}-{WEIGHTS[:12]}"
    shards = (["a", "bc"], ["ab", "c"], ["c", "ab"], ["abc"])
    names = {results.shard_name(studies) for studies in shards}
    monkeypatch.setattr(results_module, "__version__", "another")
    assert results.name == f"result_set=another-{WEIGHTS[:12]}"
    names |= {results.shard_name(studies) for studies in shards}
    assert len(names) == 2 * len(shards)
    assert all(re.fullmatch(r"part-[0-9a-f]{20}\.parquet", name) for name in names)


def test_what_interrupted_writing_left_is_removed_from_both_tables_and_not_looked_for_behind_a_url(results, store):
    for folder in (results.grades, results.studies):
        folder.local.mkdir(parents=True)
        (folder.local / ".part-1.parquet.0000.part").write_bytes(b"half")
    results.remove_unfinished()
    assert [*results.grades.local.iterdir(), *results.studies.local.iterdir()] == []
    ResultSet(Folder.of("memory://out"), WEIGHTS).remove_unfinished()


@pytest.mark.parametrize("step", range(1, 5))
def test_an_interruption_between_the_files_of_a_shard_loses_and_doubles_nothing(results, monkeypatch, step):
    steps = []

    def interrupting(change):
        def changed(*arguments, **options):
            steps.append(change)
            if len(steps) == step:
                raise KeyboardInterrupt
            return change(*arguments, **options)

        return changed

    def grade(**rows):
        missing = [name for name in rows if name not in results.done()]
        if missing:
            results.write(missing, outcome_of(**{name: rows[name] for name in missing}))

    grade(a=25, b=0)
    grade(c=0)
    for interrupted in (results.forget_failed, lambda: grade(d=25)):
        steps.clear()
        with monkeypatch.context() as patch:
            for name in ("write_table", "remove"):
                patch.setattr(Folder, name, interrupting(getattr(Folder, name)))
            try:
                interrupted()
            except KeyboardInterrupt:
                assert len(steps) == step
        results.remove_unfinished()
    results.forget_failed()
    for name in "bcd":
        grade(**{name: 25})
    assert sorted(row["study_id"] for row in rows_of(results.studies)) == ["a", "b", "c", "d"]
    assert sorted(row["study_id"] for row in rows_of(results.grades)) == sorted("abcd" * len(ROWS))


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
    text = "".join(results.submission_blocks(IdSet.of([["a", "to come"]])))
    head, *lines = text.splitlines()
    assert head == "row_id,normal_mild,moderate,severe"
    assert [line.partition(",")[0] for line in lines] == [f"a_{row}" for row in ROWS]
    np.testing.assert_allclose([list(map(float, line.split(",")[1:])) for line in lines], prior(), atol=1e-6)


def test_a_submission_is_that_of_predict_to_the_last_byte(results):
    outcome, sure = outcome_of(a=25, b=25), np.tile([1.0, 1e-9, 0.0], (25, 1))
    outcome.updates["b"] = replace(outcome.updates["b"], grades=sure / sure.sum(axis=1, keepdims=True))
    results.write(["a", "b"], outcome)
    text = "".join(results.submission_blocks(IdSet.of([["a", "b"]])))
    assert text == submission_text({name: update.grades for name, update in outcome.updates.items()})
    assert "b_spinal_canal_stenosis_l1_l2,0.999998,0.000001,0.000001" in text


@pytest.mark.parametrize("name", ["Doe, Jane", 'the "second"', "two\nlines"])
def test_ids_that_need_quotes_are_read_back_from_a_submission(results, name):
    results.write([name], outcome_of(**{name: 25}))
    text = "".join(results.submission_blocks(IdSet.of([[name]])))
    _, *rows = csv.reader(io.StringIO(text, newline=""))
    assert [row[0] for row in rows] == [f"{name}_{row}" for row in ROWS]
    assert {len(row) for row in rows} == {4}


LOST = Failure("localise", "ProcessDied", "the process ended with exit code 1")
EARLIER = Failure("grade", "ModelError", "numbers are not finite")


@pytest.mark.parametrize(
    ("own", "lost", "of_shard", "types"),
    [
        ([], None, [EARLIER], []),
        ([], None, [], []),
        ([EARLIER], LOST, [], ["ModelError", "ProcessDied"]),
        ([LOST], LOST, [], ["ProcessDied"]),
        (None, LOST, [EARLIER], ["ProcessDied"]),
        (None, None, [EARLIER, LOST], ["ModelError"]),
        (None, None, [], ["NotGraded"]),
    ],
)
def test_a_study_is_given_a_failure_of_its_shard_only_where_nothing_else_explains_it(
    results, own, lost, of_shard, types
):
    outcome = outcome_of(**({} if own is None else {"a": 25}))
    for name, update in outcome.updates.items():
        outcome.updates[name] = replace(update, report=replace(update.report, failures=tuple(own)))
    outcome.lost.update({} if lost is None else {"a": lost})
    outcome.failures.extend(of_shard)
    (row,) = results.write(["a"], outcome)
    assert [item["type"] for item in row["failures"]] == types


def test_a_row_says_where_it_comes_from_and_names_nothing_of_the_headers(results, monkeypatch):
    recesses = {side: [4.0, 5.0, 6.0] for side in SIDES}
    level = LevelReport([1.0, 2.0, 3.0], recesses, recesses, "5", 7, 0.9, [0.8, 0.7], [0.6, 0.5])
    report = StudyReport(
        "a",
        confidence=0.75,
        landmarks=dict.fromkeys(LEVELS, level),
        missing=("DOE/1.dcm: not a DICOM file",),
        failures=(Failure("read", "Doe Jane", "of DOE"),),
    )
    update = Update(prior(), ((),) * len(ROWS), report)
    outcome = replace(outcome_of(finished=1_700_000_000.0), updates={"a": update})
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        results.write(["a", "b"], outcome)
    finally:
        monkeypatch.undo()
        time.tzset()
    first, second = rows_of(results.studies)
    assert (first["seconds"], second["seconds"]) == (1.5, 0.0)
    assert (first["confidence"], second["confidence"]) == (0.75, None)
    assert first["missing"] == ["not a DICOM file"]
    assert [(item["type"], item["reason"]) for item in first["failures"]] == [("another reason", "another reason")]
    assert {(point["x_mm"], point["y_mm"], point["z_mm"]) for point in first["landmarks"]} == {(1, 2, 3), (4, 5, 6)}
    assert first["finished"].timestamp() == 1_700_000_000.0
    assert (first["version"], first["weights_sha256"], first["device"]) == (__version__, WEIGHTS, "cpu")
    assert f"{first['shard']}.parquet" == results.shard_name(["a", "b"])
    confidences = {row["confidence"] for row in rows_of(results.grades) if row["study_id"] == "a"}
    assert confidences == {np.float32(value) for value in (0.9, 0.8, 0.7, 0.6, 0.5)}


def test_a_shard_that_no_worker_began_has_no_device(results):
    (row,) = results.write(["a"], ShardOutcome())
    assert row["device"] == ""


def test_a_run_that_was_overtaken_writes_no_more(work, results):
    shard = Shard("part", (0,), ("a",))
    results.out.write_json(RUN_FILE, {"run": "2", "weights_sha256": WEIGHTS})
    with pytest.raises(OvertakenError):
        write_outcome(work, shard, outcome_of(a=25))
    results.out.remove(RUN_FILE)
    with pytest.raises(OvertakenError):
        write_outcome(work, shard, outcome_of(a=25))
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
    results.write(["old"], outcome_of(begin - 2 * HOUR, old=25))
    for place, name in enumerate("abc"):
        results.write([name, f"{name}2"], outcome_of(begin + 60.0 * place, **{name: 25, f"{name}2": 3}))
    outcome = outcome_of(begin + 120.0)
    outcome.lost["d"] = Failure("localise", "ProcessDied", "the process ended with exit code 1")
    results.write(["d"], outcome)
    status = archive_status(results.out)
    assert (status.studies, status.done) == (20, 8)
    assert status.by_status == {"graded": 4, "partly": 3, "failed": 1}
    assert status.reasons == {"the process ended": 1}
    assert status.studies_per_hour == pytest.approx(5 / 120 * 3600)
    assert status.hours_left == pytest.approx(12 / 150)
    assert "failed: 1 the process ended" in status.as_text()
    assert "150 studies an hour, 0.1 hours left" in status.as_text()
    assert "an hour" not in replace(status, done=20).as_text()


def test_status_of_nothing_says_what_to_do(tmp_path, work, results):
    with pytest.raises(ConfigError, match="no finished index"):
        archive_status(Folder.of(tmp_path / "other"))
    write_index(work.index, "a", "b")
    write_index(Folder.of(tmp_path / "indexed" / "index"), "a", "b")
    with pytest.raises(ConfigError, match=r"no run; `lumbar-kernel archive DATA --out .*indexed` makes one"):
        archive_status(Folder.of(tmp_path / "indexed"))
    assert archive_status(results.out).as_text().startswith("0 of 2 studies done")


def test_the_status_is_that_of_the_run_whatever_version_says_it(work, results, monkeypatch):
    write_index(work.index, "a", "b")
    results.write(["a"], outcome_of(a=25))
    before = archive_status(results.out)  # of a run that does not name its result set
    results.out.write_json(RUN_FILE, {"run": "1", "weights_sha256": WEIGHTS, "result_set": results.name})
    monkeypatch.setattr(results_module, "__version__", "another")
    assert archive_status(results.out) == before
    assert before.done == 1


def test_results_of_studies_that_the_index_no_longer_has_do_not_count(work, results):
    write_index(work.index, "a", "b")
    results.write(["a", "gone"], outcome_of(a=25))
    results.write(["b"], outcome_of(b=25))
    status = archive_status(results.out)
    assert status.as_text().startswith("2 of 2 studies done")
    assert (status.by_status, status.reasons) == ({"graded": 2}, {})


def test_the_rate_is_unknown_until_two_shards_have_ended_within_an_hour(work, results):
    write_index(work.index, *"abcd")
    results.write(["a"], outcome_of(1_700_000_000.0, a=25))
    results.write(["b"], outcome_of(1_700_000_000.0 + 3600, b=25))
    status = archive_status(results.out)
    assert (status.done, status.studies_per_hour, status.hours_left) == (2, None, None)
    results.write(["c"], outcome_of(1_700_000_000.0 + 1, c=25))
    assert archive_status(results.out).studies_per_hour == pytest.approx(3600 / 3599)


def test_status_lists_counts_by_name_and_reasons_by_number():
    reasons = {"empty file": 1, "not MR": 2}
    status = Status(9, 6, {"partly": 1, "graded": 2, "failed": 3}, reasons, None, "result_set=1-ab")
    assert status.as_text().splitlines() == [
        "6 of 9 studies done (result_set=1-ab): 3 failed, 2 graded, 1 partly",
        "failed: 2 not MR",
        "failed: 1 empty file",
    ]


@pytest.mark.parametrize(
    ("failures", "missing", "reason"),
    [
        (["empty file", "not MR"], ["spectroscopy"], "empty file"),
        ([], ["spectroscopy", "not MR"], "spectroscopy"),
        ([], [], "no member graded it"),
    ],
)
def test_a_study_failed_for_its_first_failure_else_for_what_was_missing_first(failures, missing, reason):
    assert shard_task.reason_of({"failures": [{"reason": own} for own in failures], "missing": missing}) == reason


def test_a_tally_counts_reasons_of_failed_studies_alone(work):
    tally = write_outcome(work, Shard("part", (0, 1, 2), ("a", "b", "c")), outcome_of(a=25, b=3))
    assert (tally.studies, dict(tally.failed)) == (3, {"another reason": 1})


@pytest.mark.parametrize(
    ("ready", "problem"),
    [
        (None, None),
        (Ready("cpu", WEIGHTS, {}), None),
        (Ready("cpu", "cd" * 32, {}), "those of the run: another manifest"),
        (Ready("cpu", WEIGHTS, {"tiny": "damaged"}), "those of the run: tiny: damaged"),
    ],
)
def test_a_worker_with_other_weights_writes_nothing(work, results, monkeypatch, tmp_path, ready, problem):
    write_index(work.index, "a")
    (tmp_path / "remote").mkdir()
    (tmp_path / "remote" / "1.dcm").write_bytes(b"x" * 300_000)
    work = replace(work, root=Folder.of(f"file://{tmp_path}/remote"))
    sizes = []

    class Worker:
        def grade(self, studies):
            sizes.extend(path.stat().st_size for study in studies for item in study.series for path in item.paths)
            return replace(outcome_of(a=25), ready=ready)

    studies = (StudyFiles("a", (SeriesFiles("s", None, (Path("1.dcm"),)),)),)
    monkeypatch.setattr(shard_task, "_worker", lambda _: Worker())
    monkeypatch.setattr(shard_task, "read_shard", lambda *_: studies)
    monkeypatch.setattr("logging.disable", lambda _: None)
    with nullcontext() if problem is None else pytest.raises(WorkerStartError, match=problem):
        shard_task.grade_shard(work, Shard("part-00000.parquet", (0,), ("a",)))
    assert sizes == [300_000]  # the pixels too
    assert len(results.done()) == (problem is None)


@pytest.mark.parametrize(
    "changed", [{}, {"study_seconds": 90.0}, {"device": "cuda"}, {"weights": Path("others")}, {"lent": "1"}]
)
def test_a_worker_is_kept_for_the_next_shard_until_an_option_changes(work, monkeypatch, changed):
    made, at_exit = [], []

    class Worker:
        def __init__(self, **options):
            made.append(options)

        def stop(self):
            made.append("stopped")

    monkeypatch.setattr(shard_task, "PersistentWorker", Worker)
    monkeypatch.setattr(shard_task, "_kept", {})
    monkeypatch.setattr("atexit.register", at_exit.append)
    monkeypatch.setenv(shard_task.VISIBLE, "0")
    one = shard_task._worker(work)
    monkeypatch.setenv(shard_task.VISIBLE, changed.get("lent", "0"))
    options = {name: value for name, value in changed.items() if name != "lent"}
    other = shard_task._worker(replace(work, **options))
    assert (one is other) == (not changed)
    assert made[0] == {"weights": None, "device": "cpu", "study_seconds": 60.0}
    assert made[1:] == (["stopped", {**made[0], **options}] if changed else [])
    at_exit[-1]()  # with the process
    assert made[-1] == "stopped"
    assert shard_task._kept == {}
