import multiprocessing
import os
import signal
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest

from lumbar_kernel import Config
from lumbar_kernel.results.report import StudyReport
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.fork_server import CAN_FORK, Fork, ForkServer
from lumbar_kernel.runtime.messages import Done, Ready, Shard, Step, Update
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.worker_process import networks_to_share, with_loader
from lumbar_kernel.runtime.workers import MAX_LOST, WorkerPool


class Files:
    """Stands in for the files of a study; its name tells the fake process what to do."""

    def __init__(self, study_id):
        self.study_id = str(study_id)


def fake_process(_, shard, __, sender, ___):
    """Does what a grading process does, without grading: dies or hangs at studies whose names say so."""
    os.setpgid(0, 0)
    if shard.device.startswith("broken"):
        os._exit(7)
    sender.send(Ready(shard.device, "", {}))
    for files in shard.studies:
        name = files.study_id
        if (name, "localise") in shard.given_up or (None, "localise") in shard.given_up:
            continue
        sender.send(Step("localise", (name,), {"localise": 1.0}))
        if name.startswith("dies"):
            os._exit(9)
        if name.startswith("hangs"):
            time.sleep(1000)
        sender.send(Update(np.full((25, 3), 1 / 3), (("canal_t2",),) * 25, StudyReport(name, members=(shard.device,))))
    recorder = Recorder()
    sender.send(Done(recorder))


def nothing(_):
    """What workers that grade nothing share."""


FAKE = Fork(load=nothing, entry=fake_process)


@contextmanager
def pool_of(config, names, devices, *, fork=FAKE, forked=CAN_FORK):
    """A pool, whose first workers are forked where the system can."""
    budget = Budget(None, reserve=0.0)
    with (
        ForkServer(fork, config, None) if forked else nullcontext() as server,
        WorkerPool(config, [Files(name) for name in names], devices, budget, fork=fork, server=server) as workers,
    ):
        yield workers


def run(names, devices, tmp_path, *, fork=FAKE, forked=CAN_FORK, **options):
    """What became of a run of the fake process: study → device, accounts, failures."""
    config = Config(data=tmp_path, output=tmp_path, **options)
    found, done = {}, []
    with pool_of(config, names, devices, fork=fork, forked=forked) as workers:
        while workers.busy:
            for message in workers.messages(0.5):
                if isinstance(message, Update):
                    found[message.report.study_id] = message.report.members[0]
                done += [message] if isinstance(message, Done) else []
    return found, done, workers.failures


def test_two_devices_share_the_studies(tmp_path):
    found, done, failures = run(range(16), ("one", "two"), tmp_path)
    assert set(found.values()) == {"one", "two"}
    assert (len(found), len(done), failures) == (16, 2, [])


def test_a_device_that_dies_leaves_its_studies_to_the_other(tmp_path):
    found, done, failures = run(range(16), ("broken", "two"), tmp_path)
    assert found == {str(number): "two" for number in range(16)}
    assert len(done) == 2
    assert [(f.stage, f.type) for f in failures] == [("start", "ProcessDied")]
    assert "exit code 7, on broken" in failures[0].message


def test_when_no_device_is_left_the_processor_continues(tmp_path):
    found, _, failures = run(range(16), ("broken:0", "broken:1"), tmp_path)
    assert found == {str(number): "cpu" for number in range(16)}
    assert len(failures) == 2


def test_a_worker_of_the_processor_that_dies_is_replaced_beside_the_others(tmp_path):
    names = ["dies", *range(1, 12)]
    found, done, failures = run(names, ("cpu", "cpu"), tmp_path)
    assert set(found) == {str(number) for number in range(1, 12)}
    assert (len(done), len(failures)) == (2, 1)


def test_a_study_that_ends_its_process_is_given_up_and_the_others_go_on(tmp_path):
    names = ["0", "dies", "2", "3"]
    found, done, failures = run(names, ("cpu",), tmp_path)
    assert set(found) == {"0", "2", "3"}
    assert len(done) == 1
    assert failures[0].stage == "localise"
    assert failures[0].message.endswith("at dies")


def test_a_study_that_hangs_is_given_up_after_its_time(tmp_path):
    found, _, failures = run(["0", "hangs", "2"], ("cpu",), tmp_path, study_seconds=1.0)
    assert set(found) == {"0", "2"}
    assert [f.type for f in failures] == ["ProcessHung"]


def test_a_stage_that_ends_process_after_process_is_left_out(tmp_path):
    found, done, failures = run([f"dies {k}" for k in range(MAX_LOST + 3)], ("cpu",), tmp_path)
    assert (found, len(done), len(failures)) == ({}, 1, MAX_LOST)


def test_a_strict_run_does_not_go_on(tmp_path):
    found, done, failures = run(["dies", "1"], ("cpu",), tmp_path, strict=True)
    assert (found, done, len(failures)) == ({}, [], 1)


def dies(_):
    os._exit(5)


def hangs(_):
    time.sleep(1000)


@pytest.mark.skipif(not CAN_FORK, reason="processes are not forked on this system")
@pytest.mark.parametrize(("load", "kind"), [(dies, "ProcessDied"), (hangs, "ProcessHung")])
@pytest.mark.slow
def test_without_the_process_that_loads_for_all_each_worker_loads_for_itself(load, kind, tmp_path, monkeypatch):
    # enough for a worker that imports the tests on a busy machine, and waited for by one that hangs
    monkeypatch.setattr("lumbar_kernel.runtime.workers.START_SECONDS", 12.0)
    names = range(8)
    found, done, failures = run(names, ("cpu", "cpu"), tmp_path, fork=Fork(load, fake_process), study_seconds=1.0)
    assert found == {str(number): "cpu" for number in names}
    assert len(done) == 2
    assert (failures[0].stage, failures[0].type) == ("start", kind)
    assert "each worker loads its own" in failures[0].message


def kills_its_parent(config, shard, budget, sender, shared):
    """Ends the process that forked it, once, and grades as the fake does."""
    killed = config.output / "killed"
    if not killed.exists():
        killed.touch()
        time.sleep(1.0)  # so that it has forked the others and reported them
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1000)  # it dies with its parent
    fake_process(config, shard, budget, sender, shared)


@pytest.mark.skipif(not CAN_FORK, reason="processes are not forked on this system")
def test_workers_that_die_with_their_parent_are_replaced(tmp_path):
    found, done, failures = run(range(8), ("cpu", "cpu"), tmp_path, fork=Fork(nothing, kills_its_parent))
    assert sorted(found, key=int) == [str(number) for number in range(8)]
    assert len(done) == 2
    assert any("with the one that forked it" in item.message for item in failures)
    assert {item.stage for item in failures} == {"start"}  # no stage of the studies at hand is blamed


def is_slow_after_forking(_):
    """Lets the process that forks the workers rest behind each, as on a busy machine."""
    fork_process = multiprocessing.get_context("fork").Process
    start = fork_process.start

    def start_and_rest(process):
        start(process)
        time.sleep(1.5)

    fork_process.start = start_and_rest


@pytest.mark.skipif(not CAN_FORK, reason="processes are not forked on this system")
def test_workers_that_are_done_at_once_cost_the_others_nothing(tmp_path):
    found, done, failures = run(range(8), ("cpu", "cpu"), tmp_path, fork=Fork(is_slow_after_forking, fake_process))
    assert sorted(found, key=int) == [str(number) for number in range(8)]
    assert (len(done), failures) == (2, [])


class Refusal:
    """Lets the system start no process, but for the first one."""

    def __init__(self, start):
        self.start, self.calls = start, 0

    def __call__(self, process):
        self.calls += 1
        if self.calls != 1:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.start(process)


def test_a_worker_that_cannot_be_started_leaves_its_studies_to_those_that_run(tmp_path, monkeypatch):
    config = Config(data=tmp_path, output=tmp_path)
    refusal = Refusal(multiprocessing.process.BaseProcess.start)
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", lambda process: refusal(process))
    found = set()
    with pool_of(config, range(8), ("one", "two"), forked=False) as workers:
        monkeypatch.undo()
        while workers.busy:
            found |= {item.report.study_id for item in workers.messages(0.5) if isinstance(item, Update)}
    assert found == {str(number) for number in range(8)}
    assert workers.finished
    assert [(item.stage, item.type) for item in workers.failures] == [("start", "BlockingIOError")]


def test_a_pool_that_cannot_start_any_worker_is_neither_busy_nor_finished(tmp_path, monkeypatch):
    refusal = Refusal(None)
    refusal.calls = 1
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", lambda process: refusal(process))
    with pool_of(Config(data=tmp_path, output=tmp_path), range(8), ("one", "two"), forked=False) as workers:
        assert (workers.busy, workers.finished, len(workers.failures)) == (False, False, 1)


def tells_what_it_shares(_, shard, __, sender, shared):
    """Sends what is shared, and whether CUDA may no longer be started."""
    import torch

    os.setpgid(0, 0)
    report = StudyReport(shard.studies[0].study_id, members=(str(shared), str(torch.cuda._is_in_bad_fork())))
    sender.send(Update(np.full((25, 3), 1 / 3), ((),) * 25, report))
    sender.send(Done(Recorder()))


def threads_after_loading(config):
    """How many threads the process has that loads the networks."""
    _, loaded = networks_to_share(config)
    assert loaded is not None
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.skipif(not CAN_FORK, reason="processes are not forked on this system")
def test_networks_are_loaded_by_a_process_of_one_thread_that_leaves_accelerators_alone(tmp_path):
    config = Config(data=tmp_path, output=tmp_path)
    fork = Fork(threads_after_loading, tells_what_it_shares)
    with pool_of(config, range(4), ("cpu", "cpu"), fork=fork) as workers:
        messages = []
        while workers.busy:
            messages += [item for item in workers.messages(0.5) if isinstance(item, Update)]
    assert [item.report.members for item in messages] == [("1", "False")] * 2


def test_workers_start_one_by_one_where_processes_cannot_be_forked(tmp_path):
    found, done, failures = run(range(16), ("one", "two"), tmp_path, forked=False)
    assert set(found.values()) == {"one", "two"}
    assert (len(found), len(done), failures) == (16, 2, [])


@pytest.mark.parametrize(("strict", "reason"), [(False, "a bug"), (True, "study 7: on purpose")])
def test_an_error_that_ends_a_shard_is_named_whatever_studies_had_failed_before(strict, reason, tmp_path):
    recorder = Recorder(strict=strict)

    def grade(loader):
        with recorder.guard("7", "crop"):
            raise ValueError("on purpose")
        raise ValueError("a bug")

    config = Config(data=tmp_path, output=tmp_path)
    done = with_loader(config, Shard(0, (), "cpu"), grade, recorder=recorder, spare=None)
    assert [failure.message for failure in done.recorder.failures(None)] == [reason]
