import signal
from types import SimpleNamespace

import pytest

from lumbar_kernel import Config
from lumbar_kernel.errors import WeightsError
from lumbar_kernel.runtime import reader_process, study_loader, worker_process
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.messages import Done, Shard
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.supervision import rest_of
from lumbar_kernel.runtime.worker_process import networks_to_share, with_loader
from lumbar_kernel.study import StudyFiles


@pytest.mark.parametrize(("run_resumes", "shard_resumes", "begins"), [(0, 0, 1), (1, 0, 0), (0, 1, 0)])
def test_reading_begins_at_once_where_no_journal_decides_what_is_left(
    run_resumes, shard_resumes, begins, tmp_path, monkeypatch
):
    begun = []
    monkeypatch.setattr(study_loader.StudyLoader, "start", lambda _: begun.append(1))
    config, shard = Config(data=tmp_path, output=tmp_path, resume=bool(run_resumes)), Shard(0, (), "cpu")
    shard = rest_of(shard, without={}) if shard_resumes else shard
    with_loader(config, shard, lambda loader: Done(Recorder()), recorder=Recorder(), spare=None)
    assert len(begun) == begins


@pytest.mark.parametrize("number", [0, 1])
def test_a_forked_worker_forks_no_more_readers_than_studies_and_one_reports_what_all_shared(
    number, tmp_path, monkeypatch
):
    given, sent, signals, shared = [], [], [], Recorder()
    monkeypatch.setattr(worker_process.os, "setpgid", lambda *_: None)
    monkeypatch.setattr(worker_process.signal, "signal", lambda *item: signals.append(item[0]))
    monkeypatch.setattr(reader_process, "forked_readers", lambda count, foreign: (count, foreign))
    monkeypatch.setattr(worker_process, "grade_shard", lambda *_, **options: given.append(options))
    config = Config(data=tmp_path, output=tmp_path, workers=5)
    shard = Shard(number, (StudyFiles("1", ()), StudyFiles("2", ())), "cpu")
    sender = SimpleNamespace(send=sent.append)
    worker_process.worker_process(config, shard, Budget(None, reserve=0), sender, (shared, "networks"))
    assert given == [{"recorder": None if number else shared, "loaded": "networks", "spare": (2, (sender,))}]
    assert set(signals) == {signal.SIGINT, signal.SIGTERM}
    assert sent == [None]


@pytest.mark.parametrize("error", [WeightsError("damaged"), RuntimeError("a bug")])
def test_networks_that_cannot_be_loaded_for_all_are_left_to_each_worker(error, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("lumbar_kernel.runtime.pipeline.load", fail)
    recorder, loaded = networks_to_share(Config(data=tmp_path, output=tmp_path))
    assert (loaded, recorder.failures(None)) == (None, ())
