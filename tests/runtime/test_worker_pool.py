"""A pool whose workers are no processes; `test_workers.py` has those that are, which import it and must start fast."""

import multiprocessing
from collections import Counter
from types import SimpleNamespace

import pytest

from lumbar_kernel import Config
from lumbar_kernel.models.manifest import WAITING
from lumbar_kernel.runtime import workers
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.messages import Done, Ready, Shard, Step
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.workers import MAX_LOST, WorkerPool
from lumbar_kernel.study import StudyFiles
from tests.conftest import FakeClock
from tests.runtime.conftest import FakeProcess


class Pool(WorkerPool):
    """A pool whose workers are no processes: tests send their messages, and move the clock."""

    def __init__(self, tmp_path, devices=("cpu", "cpu"), *, seconds=None, process=FakeProcess, **options):
        self.now, self.senders, self.process = FakeClock(), [], process
        config = Config(data=tmp_path, output=tmp_path, **options)
        budget = Budget(seconds, reserve=0.0, clock=self.now)
        super().__init__(config, [StudyFiles(str(number), ()) for number in range(8)], devices, budget, clock=self.now)
        self._start_waiting()

    def _start(self, shard):
        receiver, sender = multiprocessing.Pipe(duplex=False)
        self.senders.append(sender)
        return workers._Worker(shard, self.process(), receiver, heard=self.now())

    def hear(self, number, *messages):
        """Let a worker send messages, and take them one after the other."""
        for message in messages:
            self.senders[number].send(message)
            list(self.messages(0))

    @property
    def shards(self):
        return [worker.shard for worker in self._running]


def test_a_worker_hangs_when_it_is_silent_in_one_stage_for_too_long_unless_it_waits_for_readers(tmp_path):
    pool = Pool(tmp_path, ("cpu",), study_seconds=10)
    pool.now.now += 290  # a start may take longer than a stage
    list(pool.messages(0))
    pool.hear(0, Ready("cpu", "", {}))
    for stage, seconds in (("localise", 9), (WAITING, 1000), ("axial", 9), ("crop", 11)):
        assert pool.failures == []
        pool.hear(0, Step(stage, ("7",), {}))
        pool.now.now += seconds
        list(pool.messages(0))
    assert [(item.stage, item.type) for item in pool.failures] == [("crop", "ProcessHung")]
    pool.close()


def test_a_worker_that_does_not_start_hangs_too(tmp_path):
    pool = Pool(tmp_path, ("cpu",), study_seconds=10)
    pool.now.now += 301
    list(pool.messages(0))
    assert [(item.stage, item.type) for item in pool.failures] == [("start", "ProcessHung")]
    pool.close()


def test_seconds_are_those_of_all_workers_whatever_became_of_them(tmp_path):
    pool = Pool(tmp_path, ("cpu", "cpu", "cpu"))
    for number in range(3):
        pool.hear(number, Step("crop", ("7",), {"crop": 1.0}))
    assert pool.seconds == {"crop": 3.0}
    assert pool.unfinished == ["the time was up in: crop of 7"] * 3
    recorder = Recorder()
    recorder._stages = {"crop": 1.0, "localise": 5.0}
    pool.hear(0, Done(recorder))
    pool.senders[1].close()
    list(pool.messages(0))
    assert pool.seconds == {"crop": 3.0, "localise": 5.0}
    assert not pool.finished
    pool.close()


@pytest.mark.parametrize(
    ("devices", "options", "shared"),
    [
        (("cpu",) * 3, {"workers": 8, "ahead": 9}, (2, 3)),
        (("cpu",) * 3, {"workers": 1, "ahead": 1}, (1, 1)),
        (("cuda:0",) * 3, {"workers": 12, "ahead": 4}, (4, 2)),
    ],
)
def test_readers_and_studies_read_ahead_are_shared_out(tmp_path, devices, options, shared):
    pool = Pool(tmp_path, devices, **options)
    assert (pool._config.readers, pool._config.ahead) == shared
    pool.close()


def test_workers_are_asked_to_end_before_any_is_killed_and_waited_for_within_the_time(tmp_path):
    pool = Pool(tmp_path, seconds=1.0)
    assert pool._patience() == 0.25
    pool.now.now += 0.9
    assert pool._patience() == workers.MIN_PATIENCE
    calls, first, second = [], *(worker.process for worker in pool._running)
    first.calls = second.calls = calls
    pool.close()
    assert calls[:3] == ["terminate", "terminate", "join"]
    assert Counter(calls)["kill"] == 2


def test_workers_that_never_start_are_not_replaced_for_ever(tmp_path):
    pool = Pool(tmp_path, ("cpu",))
    for lost in range(1, MAX_LOST + 1):
        assert pool.busy
        pool.senders[-1].close()
        list(pool.messages(0))
        assert len(pool.failures) == lost
    assert (pool.busy, pool.finished) == (False, False)


def test_a_worker_lost_with_the_process_that_forked_it_is_begun_again_from_its_journal(tmp_path):
    pool = Pool(tmp_path, process=lambda: FakeProcess(exitcode=None))
    for sender in pool.senders[:2]:
        sender.close()
    list(pool.messages(0))
    assert [(shard.resume, shard.one_at_a_time, shard.device) for shard in pool.shards] == [(True, False, "cpu")] * 2
    assert [failure.stage for failure in pool.failures] == ["start"]
    pool.close()


def test_a_worker_gets_what_is_left_of_the_time(tmp_path, monkeypatch):
    given, clock = [], FakeClock()
    budget = Budget(10, reserve=1.0, clock=clock)
    process = SimpleNamespace(start=lambda: None)
    context = SimpleNamespace(
        Pipe=lambda duplex: multiprocessing.Pipe(duplex), Process=lambda target, args: given.append(args[3]) or process
    )
    monkeypatch.setattr(workers, "spawn_context", lambda: context)
    pool = WorkerPool(Config(data=tmp_path, output=tmp_path), [StudyFiles("1", ())], ("cpu",), budget)
    clock.now += 4
    pool._start(Shard(0, (), "cpu")).receiver.close()
    assert given == [6]
