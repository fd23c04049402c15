import os
import signal
import time

import pytest

from lumbar_kernel import Config
from lumbar_kernel.processes import spawn_context
from lumbar_kernel.runtime.fork_server import CAN_FORK, Fork, ForkedWorker, ForkServer
from lumbar_kernel.runtime.messages import Shard

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="processes are not forked on this system")

LONG = 60.0
"""Seconds that a process of a busy machine may take to import the tests."""


def loads(config):
    (config.output / "loaded").write_text(str(os.getpid()))
    return "networks"


def tells(config, shard, budget, sender, loaded):
    sender.send((os.getppid(), config.ahead, shard.number, budget.handed_on(), loaded))


FORK = Fork(load=loads, entry=tells)


@pytest.fixture
def config(tmp_path):
    return Config(data=tmp_path, output=tmp_path)


def loaded_by(config):
    """The id of the process that has loaded, waiting for it."""
    file, until = config.output / "loaded", time.monotonic() + LONG
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return int(file.read_text())


def tasks_and_receivers(count):
    pipes = [spawn_context().Pipe(duplex=False) for _ in range(count)]
    return [(Shard(k, (), "cpu"), sender) for k, (_, sender) in enumerate(pipes)], [receiver for receiver, _ in pipes]


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_server_loads_before_it_has_a_task_and_shares_it_with_the_workers_it_forks(config):
    with ForkServer(FORK, config, 100.0) as server:
        parent = loaded_by(config)
        tasks, receivers = tasks_and_receivers(3)
        workers = server.fork(Config(data=config.data, output=config.output, ahead=7), tasks)
        received = [receiver.recv() for receiver in receivers]
        for worker in workers:
            worker.join(LONG)
    assert [(item[0], item[1], item[2], item[4]) for item in received] == [(parent, 7, k, "networks") for k in range(3)]
    assert all(0 < item[3] <= 100.0 for item in received)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert not is_running(parent)


def loads_once_asked(config):
    """Loads when the file `asked` is there, or after a while."""
    until = time.monotonic() + LONG
    while not (config.output / "asked").exists() and time.monotonic() < until:
        time.sleep(0.02)
    return loads(config)


def test_tasks_larger_than_any_pipe_do_not_wait_for_a_server_that_loads(config):
    with ForkServer(Fork(loads_once_asked, tells), config, None) as server:
        receiver, sender = spawn_context().Pipe(duplex=False)
        server.fork(config, [(Shard(5, ("study" * 1_000_000,), "cpu"), sender)])
        assert not (config.output / "loaded").exists()
        (config.output / "asked").touch()
        assert receiver.recv()[2] == 5


def test_tasks_travel_where_the_c_library_knows_no_memory_files(config, monkeypatch):
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with ForkServer(FORK, config, None) as server:
        tasks, (receiver,) = tasks_and_receivers(1)
        server.fork(config, tasks)
        assert receiver.recv()[4] == "networks"


def test_without_a_file_for_the_tasks_nothing_is_forked_and_the_pipes_end(config, monkeypatch):
    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lumbar_kernel.runtime.fork_server.tempfile.TemporaryFile", full)
    with ForkServer(FORK, config, None) as server:
        tasks, (receiver,) = tasks_and_receivers(1)
        server.fork(config, tasks)
        with pytest.raises(EOFError):
            receiver.recv()


def test_a_server_that_gets_no_task_ends_with_its_context(config):
    with ForkServer(FORK, config, None):
        parent = loaded_by(config)
        assert is_running(parent)
    assert not is_running(parent)


def waits_or_ends(config, shard, *_):
    """The first worker waits until the end of the others has been noticed."""
    until = time.monotonic() + LONG
    while shard.number == 0 and not (config.output / "noticed").exists() and time.monotonic() < until:
        time.sleep(0.02)


def test_the_end_of_a_worker_shows_while_those_forked_before_it_go_on(config):
    with ForkServer(Fork(loads, waits_or_ends), config, None) as server:
        tasks, receivers = tasks_and_receivers(2)
        server.fork(config, tasks)
        assert receivers[1].poll(LONG / 2)
        assert not receivers[0].poll(0)
        (config.output / "noticed").touch()


class Server:
    """A server that has one more message on its worker, or none."""

    def __init__(self, pid):
        self.worker, self.pid, self.killed = ForkedWorker(self), pid, False

    def receive(self):
        found, self.worker.pid, self.pid = self.pid is not None, self.pid or self.worker.pid, None
        return found

    def kill(self):
        self.killed = True


@pytest.mark.parametrize(("pid", "signals"), [(None, []), (7, [(7, signal.SIGTERM)])])
def test_a_worker_is_asked_to_end_or_with_its_server_before_it_is_forked(pid, signals, monkeypatch):
    server, sent = Server(pid), []

    def kill(*which):
        sent.append(which)
        raise ProcessLookupError  # it may end by itself at any moment

    monkeypatch.setattr(os, "kill", kill)
    server.worker.terminate()
    assert (sent, server.killed) == (signals, not signals)


def test_a_server_that_was_lost_forks_nothing_and_closes_the_pipes(config):
    with ForkServer(FORK, config, None) as server:
        server.kill()
        server.ended(LONG)
        tasks, receivers = tasks_and_receivers(2)
        workers = server.fork(config, tasks)
        for receiver in receivers:
            with pytest.raises(EOFError):
                receiver.recv()
        workers[0].join(LONG)
        assert workers[0].pid is None
        assert workers[0].exitcode == -9
