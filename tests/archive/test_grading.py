import logging
import shutil
from collections import Counter
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from benchmarks.robustness.archive_kills import faults_of, kill_drivers, kill_nodes, unexplained
from lumbar_kernel.archive.grading import ArchiveOptions, Outcome, grade_archive
from lumbar_kernel.archive.result_schema import FAILED, GRADED, GRADES, STUDIES
from lumbar_kernel.archive.shard_task import Tally
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.schema import ROWS, prior


def test_every_study_gets_the_grades_that_predict_gives_it(graded):
    expected = {**graded.expected, graded.no_images: prior()}
    assert faults_of(graded.out, expected, but=graded.broken) == []
    assert graded.outcome.graded == len(expected) == 7


def test_broken_studies_are_recorded_with_their_reasons_and_the_others_are_whole(graded):
    rows = {row["study_id"]: row for row in pq.read_table(graded.out / "studies").to_pylist()}
    assert {row["status"] for name, row in rows.items() if name not in graded.broken} == {GRADED}
    assert unexplained(graded.out, {**graded.damaged, graded.no_images: "no images"}) == []
    lost = rows[graded.no_images]
    assert lost["status"] == FAILED
    assert lost["failures"] == [{"stage": "read", "type": "StudyError", "reason": "not a DICOM file"}]
    assert graded.outcome.failed["not a DICOM file"] >= 1
    assert sum(graded.outcome.failed.values()) == sum(row["status"] == FAILED for row in rows.values())


def test_results_follow_their_schemas(graded):
    for folder, schema in (("grades", GRADES), ("studies", STUDIES)):
        for path in (graded.out / folder).glob("*/*.parquet"):
            assert pq.read_schema(path).remove_metadata().names == schema.names
    rows = pq.read_table(graded.out / "studies").to_pylist()
    whole = next(row for row in rows if row["status"] == GRADED)
    assert whole["graded_rows"] == len(ROWS)
    assert len({point["point"] for point in whole["landmarks"]}) == 5
    assert {item["role"] for item in whole["series"]} == {"Sagittal T1", "Sagittal T2/STIR", "Axial T2"}
    assert whole["seconds"] > 0
    assert (whole["device"], len(whole["weights_sha256"])) == ("cpu", 64)


def test_a_second_run_finds_nothing_to_do(graded):
    files = {path: path.stat().st_mtime_ns for path in graded.out.glob("*/*/*.parquet")}
    again = grade_archive(graded.options)
    assert (again.before, again.graded) == (7, 0)
    assert files == {path: path.stat().st_mtime_ns for path in graded.out.glob("*/*/*.parquet")}


def test_the_last_word_on_progress_is_left_to_the_status(graded, caplog):
    with caplog.at_level(logging.INFO):
        outcome = Outcome(graded.outcome.index, graded.outcome.results, before=4)
        for studies in (2, 1):
            outcome.take(Tally(studies, Counter()))
    assert caplog.messages == ["6 of 7 studies done, 0 failed in this run"]


def test_failed_studies_are_graded_again_when_asked(graded, tmp_path):
    shutil.copytree(graded.out, tmp_path / "out")
    failed = sum(row["status"] == FAILED for row in pq.read_table(graded.out / "studies").to_pylist())
    again = grade_archive(replace(graded.options, out=Folder.of(tmp_path / "out"), retry_failed=True))
    assert (again.before, again.graded) == (7 - failed, failed)
    assert faults_of(tmp_path / "out", {**graded.expected, graded.no_images: prior()}, but=graded.broken) == []


def test_other_data_need_another_folder(graded, setting):
    with pytest.raises(ConfigError, match="index of other data"):
        grade_archive(replace(graded.options, data=str(setting.data)))


@pytest.mark.parametrize("wrong", [{"shard_studies": 0}, {"device": "tpu"}])
def test_options_that_cannot_work_are_refused(wrong, tmp_path):
    with pytest.raises(ConfigError):
        ArchiveOptions(data="data", out=Folder.of(tmp_path), **wrong)


@pytest.mark.slow
def test_a_node_may_be_lost(setting, tmp_path):
    (trial,) = kill_nodes(setting, tmp_path, times=1, undisturbed=False, longest=16.0, seed=3)
    assert trial.faults == ()


@pytest.mark.slow
def test_the_driver_may_be_killed_and_started_again(setting, tmp_path):
    trial = kill_drivers(setting, tmp_path / "out", times=1, longest=24.0, seed=5)
    assert trial.faults == ()
    assert trial.started >= 2
