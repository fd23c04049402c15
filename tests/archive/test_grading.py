import argparse
import logging
import shutil
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import ray
import ray.exceptions

from benchmarks.robustness.archive_kills import faults_of, kill_drivers, kill_nodes, unexplained
from lumbar_kernel.archive import grading
from lumbar_kernel.archive.grading import ArchiveOptions, Outcome, grade_archive
from lumbar_kernel.archive.ids import Ids
from lumbar_kernel.archive.index import IndexOptions
from lumbar_kernel.archive.result_schema import FAILED, GRADED, GRADES, STUDIES
from lumbar_kernel.archive.shard_task import Tally
from lumbar_kernel.archive.shards import Shard
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.commands import archive
from lumbar_kernel.errors import ConfigError, KernelError, OvertakenError, WorkerStartError
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


def test_a_run_names_its_result_set(graded):
    (folder,) = (graded.out / "studies").iterdir()
    assert Folder.of(graded.out).read_json("run.json")["result_set"] == folder.name


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


@pytest.mark.parametrize(
    "wrong", [{"shard_studies": 0}, {"device": "tpu"}, {"study_seconds": 0.0}, {"study_seconds": float("nan")}]
)
def test_options_that_cannot_work_are_refused(wrong, tmp_path):
    with pytest.raises(ConfigError):
        ArchiveOptions(data="data", out=Folder.of(tmp_path), **wrong)


@pytest.mark.parametrize("options", [{"shard_studies": 1}, {"device": "cuda"}, {"device": "cpu"}])
def test_options_that_can_work_are_taken(options, tmp_path):
    chosen = ArchiveOptions(data="data", out=Folder.of(tmp_path), split="train", ids=Ids(b"k" * 16), **options)
    assert chosen.index_options == IndexOptions("data", "train", Ids(b"k" * 16))


def test_the_defaults_are_those_of_the_command(tmp_path):
    options = ArchiveOptions(data="data", out=Folder.of(tmp_path))
    parser = argparse.ArgumentParser()
    archive.add_to(parser.add_subparsers())
    chosen = vars(parser.parse_args(["archive", "data", "--out", str(tmp_path)]))
    same = {name for name, value in vars(options).items() if name in chosen and chosen[name] == value}
    assert same == {*vars(options)} - {"data", "out", "ids"}  # a list of words, a text and a file there


@pytest.mark.parametrize(
    ("device", "gpus", "taken"), [("auto", 0, "cpu"), ("auto", 2, "cuda"), ("cpu", 2, "cpu"), ("cuda", 2, "cuda")]
)
def test_gpus_are_taken_where_the_cluster_has_them_unless_refused(tmp_path, monkeypatch, device, gpus, taken):
    monkeypatch.setattr(grading.ray, "cluster_resources", lambda: {"CPU": 2.0, **({"GPU": gpus} if gpus else {})})
    assert grading._device(ArchiveOptions(data="data", out=Folder.of(tmp_path), device=device)) == taken


def test_a_gpu_that_is_not_there_is_refused_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(grading.ray, "cluster_resources", lambda: {"CPU": 2.0})
    with pytest.raises(ConfigError, match="no GPU; `--device cpu`"):
        grading._device(ArchiveOptions(data="data", out=Folder.of(tmp_path), device="cuda"))


class Tasks:
    """In place of Ray: each shard has an outcome, lost ones that of a crashed process."""

    def __init__(self, monkeypatch, **errors):
        self.errors, self.options, self.graded, self.recorded = errors, {}, [], []
        monkeypatch.setattr(grading.ray, "put", lambda value: value)
        monkeypatch.setattr(grading.ray, "remote", self.remote)
        monkeypatch.setattr(grading.ray, "get", self.get)
        monkeypatch.setattr(grading, "in_flight", self.in_flight)
        monkeypatch.setattr(grading, "record_lost", self.record_lost)

    def remote(self, **options):
        self.options = options
        return lambda function: SimpleNamespace(remote=lambda work, shard: shard)

    def in_flight(self, submit, items, *, cores, gpus):
        assert (cores, gpus) == (self.options["num_cpus"], self.options["num_gpus"])
        return [(item, submit(item)) for item in items]

    def get(self, shard):
        self.graded.append("".join(shard.study_ids))
        assert len(self.graded) < 20  # and does not go on forever
        for name in shard.study_ids:
            if name in self.errors:
                raise self.errors[name]
        return Tally(len(shard.study_ids), Counter())

    def record_lost(self, work, shard, kind):
        self.recorded.append((*shard.study_ids, kind))
        return Tally(1, Counter({kind: 1}))


def work_of(device="cpu"):
    return SimpleNamespace(device=device)


@pytest.mark.parametrize(
    ("device", "cores", "size"), [("cpu", 1.0, (1, 0)), ("cuda", 16.0, (2, 0.25)), ("cuda", 1.0, (1, 0.25))]
)
def test_a_task_takes_a_core_or_a_quarter_of_a_gpu_with_two_and_keeps_its_process(monkeypatch, device, cores, size):
    tasks = Tasks(monkeypatch)
    monkeypatch.setattr(grading.ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": cores, "GPU": 1.0}}])
    assert list(grading._graded(work_of(device), [])) == []
    assert (tasks.options["num_cpus"], tasks.options["num_gpus"]) == size
    assert (tasks.options["max_retries"], tasks.options["max_calls"]) == (3, 0)
    assert tasks.options["retry_exceptions"] == [WorkerStartError, OSError]


def test_gpus_on_nodes_without_a_core_are_refused_rather_than_waited_for(monkeypatch):
    Tasks(monkeypatch)
    monkeypatch.setattr(grading.ray, "nodes", lambda: [{"Alive": True, "Resources": {"GPU": 1.0}}])
    with pytest.raises(ConfigError, match=r"has a core.*--device cpu"):
        list(grading._graded(work_of("cuda"), []))


def test_studies_of_a_lost_shard_are_tried_one_by_one_and_recorded_if_lost_again(monkeypatch):
    tasks = Tasks(monkeypatch, c=ray.exceptions.WorkerCrashedError())
    shards = [Shard("part", (0, 1), ("a", "b")), Shard("part", (2, 3), ("c", "d")), Shard("part", (4,), ("e",))]
    tallies = list(grading._graded(work_of(), shards))
    assert tasks.graded == ["ab", "cd", "e", "c", "d"]
    assert tasks.recorded == [("c", "WorkerCrashedError")]
    assert sum(tally.studies for tally in tallies) == 5


@pytest.mark.parametrize(
    ("cause", "kind", "said"),
    [
        (OvertakenError("another run"), OvertakenError, "^another run$"),
        (ValueError("why"), KernelError, "^a task failed with ValueError: why$"),
    ],
)
def test_an_error_of_a_task_ends_the_run_as_one_of_the_kernel(monkeypatch, cause, kind, said):
    error = ray.exceptions.RayTaskError("grade_shard", "Traceback of a node", cause)
    tasks = Tasks(monkeypatch, a=error)
    with pytest.raises(kind, match=said) as raised:
        list(grading._graded(work_of(), [Shard("part", (0, 1), ("a", "b"))]))
    assert type(raised.value) is kind
    assert tasks.recorded == []


@pytest.mark.slow
def test_a_node_may_be_lost(setting, tmp_path):
    (trial,) = kill_nodes(setting, tmp_path, times=1, undisturbed=False, longest=16.0, seed=3)
    assert trial.faults == ()
    assert trial.after is not None
    assert trial.kills == 1


@pytest.mark.slow
def test_the_driver_may_be_killed_and_started_again(setting, tmp_path):
    trial = kill_drivers(setting, tmp_path, times=1, longest=16.0, seed=5)
    assert trial.faults == ()
    assert trial.after is not None
    assert trial.kills == 1
