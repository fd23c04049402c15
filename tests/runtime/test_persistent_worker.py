import itertools
import logging
import multiprocessing
import os
import signal
import stat
import tempfile
import time
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.robustness.light_weights import light_weights
from lumbar_kernel.config import Config
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.errors import WorkerStartError
from lumbar_kernel.models import checkpoints
from lumbar_kernel.models.manifest import WAITING
from lumbar_kernel.processes import spawn_context
from lumbar_kernel.results.report import Failure, StudyReport
from lumbar_kernel.runtime import persistent_worker
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.messages import LOADING, Done, Ready, Shard, Step, Update
from lumbar_kernel.runtime.persistent_worker import MAX_LOST, PersistentWorker
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.supervision import START_SECONDS, STARTING
from lumbar_kernel.runtime.worker_process import grade_shard
from lumbar_kernel.schema import ROWS, prior
from lumbar_kernel.study import StudyFiles

STUDIES = tuple(StudyFiles(name, ()) for name in ("dies", "hangs", "fine"))


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Makes workers that are stopped in the end; what they wrote is gone by then."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = []

    def make(entry=None, *, weights=None, seconds=60.0):
        made.append(PersistentWorker(weights=weights, device="cpu", study_seconds=seconds, entry=entry))
        return made[-1]

    yield make
    for worker in made:
        worker.stop()
    assert list(tmp_path.glob("lumbar_kernel_*")) == []
    assert multiprocessing.active_children() == []


def fake(config, device, pipe):
    """A worker whose first study ends it, whose second hangs, and whose third is graded."""
    while True:
        try:
            shard = pipe.recv()
        except EOFError:
            return
        pipe.send(Ready(device, "sha", {}))
        if not shard.one_at_a_time:
            pipe.send(Step("grade", tuple(item.study_id for item in shard.studies), {}))
            os._exit(1)  # with several studies at hand nobody knows whose fault it is
        for item in shard.studies:
            given_up = (item.study_id, "localise") in shard.given_up
            if not given_up:
                pipe.send(Step("localise", (item.study_id,), {}))
            if item.study_id == "dies" and not given_up:
                os._exit(5)
            if item.study_id == "hangs" and not given_up:
                time.sleep(1000)
            pipe.send(Update(prior(), ((),) * len(ROWS), StudyReport(item.study_id)))
        pipe.send(Done(recorder=Recorder()))


def test_a_study_that_ends_its_worker_is_tried_thrice_and_one_that_hangs_once(kept):
    outcome = kept(fake, seconds=6.0).grade(STUDIES)
    assert set(outcome.updates) == {"dies", "hangs", "fine"}
    assert set(outcome.lost) == {"dies", "hangs"}
    dies, hangs = outcome.lost["dies"], outcome.lost["hangs"]
    assert (dies.stage, dies.type) == ("localise", "ProcessDied")
    assert f"exit code 5, {MAX_LOST} times in all" in dies.message
    assert (hangs.stage, hangs.type) == ("localise", "ProcessHung")
    assert "in all" not in hangs.message
    assert "hangs" not in outcome.seconds


def dies_at_once(config, device, pipe):
    """A worker that cannot start."""
    os._exit(3)


def test_a_worker_that_cannot_start_is_an_error(kept):
    with pytest.raises(WorkerStartError, match=f"{MAX_LOST} workers in turn .* exit code 3"):
        kept(dies_at_once).grade(STUDIES)


def test_one_process_grades_shard_after_shard_as_a_run_does(kept, dataset, tmp_path):
    two, weights = find_studies(dataset), light_weights(tmp_path / "weights")
    worker = kept(weights=weights)
    first, again = worker.grade(two), worker.grade(two[:1])
    config, messages = Config(data=tmp_path, output=tmp_path, weights=weights, workers=0), []
    grade_shard(config, Shard(0, tuple(two), "cpu"), Budget(None, reserve=0), messages.append)
    expected = {item.report.study_id: item.grades for item in messages if isinstance(item, Update)}
    assert set(first.updates) == set(expected) == {item.study_id for item in two}
    for study_id, grades in expected.items():
        np.testing.assert_array_equal(first.updates[study_id].grades, grades)
        assert first.updates[study_id].report.graded_rows == len(ROWS)
        assert first.seconds[study_id] > 0
    only = two[0].study_id
    np.testing.assert_allclose(again.updates[only].grades, expected[only], atol=1e-5)
    assert again.ready is first.ready
    assert first.ready.device == "cpu"
    assert (first.lost, first.failures, again.lost) == ({}, [], {})


@pytest.fixture
def told(kept, fake_process, monkeypatch):
    """Makes a worker that is no process and has sent all its messages; its clock moves on a second at each of them."""

    def make(*messages):
        worker, (here, there) = kept(), multiprocessing.Pipe()
        for message in messages:
            there.send(message)
        seconds = itertools.count()
        monkeypatch.setattr(worker, "_clock", lambda: next(seconds))
        monkeypatch.setattr(worker, "_running", (fake_process(), here))
        return worker, there

    return make


def test_seconds_of_a_stage_belong_to_its_studies_in_equal_parts(told):
    recorder = Recorder()
    recorder.add(None, Failure("grading", "ValueError", "odd"))
    update = Update(prior(), ((),) * len(ROWS), StudyReport("a"))
    steps = (Step("localise", ("a",), {}), Step(WAITING, (), {}), Step("grade", ("a", "b"), {}))
    worker, _ = told(*steps, update, Done(recorder))
    outcome = worker.grade(STUDIES)
    assert outcome.seconds == {"a": 2.0, "b": 1.0}
    assert outcome.failures == [*recorder.failures(None)]


def test_a_worker_that_ended_between_two_shards_is_replaced(told, monkeypatch):
    worker, there = told()
    there.close()
    lost, (second, _) = worker._running, told(Ready("cpu", "sha", {}), Done(Recorder()))
    monkeypatch.setattr(worker, "_running", lost)
    monkeypatch.setattr(worker, "_start", lambda: second._running)
    outcome = worker.grade(STUDIES)
    assert outcome.ready.weights_sha256 == "sha"
    assert outcome.lost == {}


@pytest.mark.parametrize(
    ("stage", "patience"), [(WAITING, None), (STARTING, START_SECONDS), (LOADING, START_SECONDS), ("crop", 60.0)]
)
def test_readers_and_starts_have_limits_of_their_own(kept, stage, patience):
    assert kept()._patience(Step(stage, (), {})) == patience


def test_nobody_else_may_read_what_a_shard_writes(kept, monkeypatch):
    worker, modes = kept(), []
    monkeypatch.setattr(worker, "_attempt", lambda *_: modes.append(worker._config.output.stat().st_mode))
    worker.grade(STUDIES)
    assert [stat.S_IMODE(mode) for mode in modes] == [0o700]


@pytest.fixture
def levels(monkeypatch):
    """Lets this process be a worker; the levels of messages that it disables."""
    disabled = []
    for name in ("prepare_grading", "die_with_parent"):
        monkeypatch.setattr(persistent_worker, name, lambda: None)
    monkeypatch.setattr(persistent_worker.os, "setpgid", lambda *_: None)
    monkeypatch.setattr(persistent_worker.signal, "signal", lambda *_: None)
    monkeypatch.setattr(persistent_worker.logging, "disable", disabled.append)
    return disabled


def test_a_worker_of_an_archive_logs_nothing_since_messages_may_quote_headers(levels):
    with pytest.raises(AttributeError, match="recv"):
        persistent_worker.persistent_worker_process(None, "cpu", SimpleNamespace())
    assert levels == [logging.CRITICAL]


@pytest.mark.usefixtures("levels")
def test_each_shard_begins_with_all_networks_on_their_device(monkeypatch):
    log, shards = [], iter(("one", "two"))

    def receive():
        if (shard := next(shards, None)) is None:
            raise EOFError
        return shard

    manifest = SimpleNamespace(sha256="sha")
    models = SimpleNamespace(device="cpu", manifest=manifest, return_to_device=lambda: log.append("networks"))
    monkeypatch.setattr(checkpoints, "load_models", lambda *_: (models, {}))
    monkeypatch.setattr(persistent_worker, "with_loader", lambda _, shard, *__, **___: log.append(shard))
    pipe = SimpleNamespace(recv=receive, send=lambda _: None)
    persistent_worker.persistent_worker_process(SimpleNamespace(weights=None), "cpu", pipe)
    assert log == ["networks", "one", "networks", "two"]


def records_and_is_killed(config, device, pipe):
    """A worker that leaves a record and whose parent is killed, as by Ray where memory is short."""
    pipe.recv()
    config.journal_of(0).write_text("SeriesDescription")
    os.kill(os.getppid(), signal.SIGKILL)


def grades_and_is_killed():
    """A process of Ray that does not come to its end."""
    PersistentWorker(weights=None, device="cpu", entry=records_and_is_killed).grade(STUDIES)


def test_what_a_killed_process_leaves_of_its_shard_is_removed_by_the_next_one(kept, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    process = spawn_context().Process(target=grades_and_is_killed)
    process.start()
    process.join()
    assert [path.read_text() for path in tmp_path.glob("*/journal.jsonl")] == ["SeriesDescription"]
    worker = kept()
    monkeypatch.setattr(worker, "_attempt", lambda *_: None)
    worker.grade(STUDIES)
    assert list(tmp_path.glob("*/journal.jsonl")) == []
