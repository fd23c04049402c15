import multiprocessing
import os
import tempfile
import time

import numpy as np
import pytest

from benchmarks.robustness.light_weights import light_weights
from lumbar_kernel.config import Config
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.results.report import StudyReport
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.messages import Done, Ready, Shard, Step, Update
from lumbar_kernel.runtime.persistent_worker import MAX_LOST, PersistentWorker, WorkerStartError
from lumbar_kernel.runtime.recorder import Recorder
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
