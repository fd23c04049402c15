"""The connection and the flow of tasks, with a cluster that is made up."""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from lumbar_kernel.archive import cluster
from lumbar_kernel.archive.cluster import MAX_RETRIES, connected, cores_beside_gpus, in_flight
from lumbar_kernel.errors import ConfigError

OOM_RETRIES = "RAY_task_oom_retries"


class FakeRay:
    """Notes what is asked of it."""

    def __init__(self, *, initialised=False, error=None, nodes=(), **resources):
        self.initialised, self.error, self.resources, self.asked = initialised, error, resources, []
        self.nodes = lambda: [{"Alive": alive, "Resources": of_node} for alive, of_node in nodes]

    def is_initialized(self):
        return self.initialised

    def init(self, **options):
        self.asked.append(options)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        if self.error:
            raise self.error

    def shutdown(self):
        self.asked.append("shutdown")

    def cluster_resources(self):
        return self.resources

    def wait(self, waiting, *, num_returns):
        self.asked.append(len(waiting))
        return waiting[-num_returns:], waiting[:-num_returns]  # the last one ends first


@pytest.fixture
def ray(monkeypatch):
    def make(**options):
        made = FakeRay(**options)
        monkeypatch.setattr(cluster, "ray", made)
        monkeypatch.delenv(OOM_RETRIES, raising=False)
        return made

    yield make
    os.environ.pop(OOM_RETRIES, None)


@pytest.mark.parametrize(
    ("resources", "task", "most"),
    [
        ({"CPU": 16.0}, {}, 32),
        ({"CPU": 1.0}, {}, 4),
        ({}, {}, 4),
        ({"CPU": 16.0, "GPU": 1.0}, {"cores": 2, "gpus": 0.25}, 8),
        ({"CPU": 8.0, "GPU": 8.0}, {"cores": 2, "gpus": 0.25}, 8),
        ({"CPU": 16.0}, {"cores": 2, "gpus": 0.25}, 4),
    ],
)
def test_two_tasks_are_handed_over_for_each_that_can_run_and_four_at_least(ray, resources, task, most):
    cluster_here, taken = ray(**resources), []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    found = in_flight(lambda item: f"task {item}", items(), **task)
    first = next(found)
    assert first == (most - 1, f"task {most - 1}")
    assert len(taken) == most + 1  # items are taken as tasks are started
    rest = [first, *found]
    assert sorted(rest) == sorted((number, f"task {number}") for number in range(100))
    assert max(cluster_here.asked) == most


def test_a_connection_that_exists_is_used_and_kept(ray):
    here = ray(initialised=True)
    with connected("10.0.0.1:6379"):
        pass
    assert here.asked == []


@pytest.mark.parametrize(
    ("address", "cores", "expected"),
    [
        (None, 3, {"address": "local", "num_cpus": 3}),
        (None, None, {"address": "local"}),
        ("auto", 3, {"address": "auto"}),  # a cluster has the cores that it has
    ],
)
def test_a_connection_of_its_own_ends_with_the_run(ray, address, cores, expected):
    here = ray()
    with suppress(KeyboardInterrupt), connected(address, cores=cores):
        assert os.environ[OOM_RETRIES] == str(MAX_RETRIES)
        raise KeyboardInterrupt
    options, last = here.asked
    assert last == "shutdown"
    assert options.pop("log_to_driver") is False
    options.pop("logging_level")
    assert options == expected


def test_a_limit_of_retries_that_the_user_has_set_stays(ray, monkeypatch):
    ray()
    monkeypatch.setenv(OOM_RETRIES, "7")
    with connected(None):
        assert os.environ[OOM_RETRIES] == "7"


@pytest.mark.parametrize("error", [ConnectionError, ValueError, RuntimeError, OSError])
@pytest.mark.parametrize(
    ("address", "said"),
    [("10.0.0.1", "no Ray cluster answers at 10.0.0.1: why"), (None, "Ray cannot be started here: why")],
)
def test_a_cluster_that_does_not_answer_is_a_matter_of_the_configuration(ray, error, address, said):
    here = ray(error=error("why"))
    with pytest.raises(ConfigError, match=f"^{said}$"), connected(address):
        pass
    assert len(here.asked) == 1


@pytest.fixture
def handler():
    """Lets signals that ask this process to end raise SystemExit with a code of their own."""

    def leave(number, _):
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in cluster.STOPPING}
    yield leave
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", cluster.STOPPING)
def test_a_request_to_end_has_its_exit_code_whatever_ray_makes_of_it(ray, handler, number):
    def wait():
        try:
            signal.raise_signal(number)
        except SystemExit:
            sys.exit(1)  # as Ray does

    here = ray()
    with pytest.raises(SystemExit, match=str(128 + number)), connected(None):
        wait()
    assert here.asked[-1] == "shutdown"
    assert signal.getsignal(number) is handler


def test_an_exit_that_no_signal_asks_for_stays_as_it_is(ray, handler):
    ray()
    with pytest.raises(SystemExit, match="7"), connected(None):
        sys.exit(7)


def test_a_cluster_that_does_not_answer_leaves_the_handlers_of_signals(ray, handler):
    ray(error=OSError("why"))
    with pytest.raises(ConfigError), connected(None):
        pass
    assert {signal.getsignal(number) for number in cluster.STOPPING} == {handler}


def test_a_signal_that_is_ignored_stays_so(ray, handler):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ray()
    with connected(None):
        signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_a_thread_leaves_the_handlers_of_signals_alone(ray, monkeypatch):
    ray()
    monkeypatch.setattr(FakeRay, "init", lambda self, **options: self.asked.append(options))

    def connect():
        with connected(None):
            return "connected"

    with ThreadPoolExecutor() as threads:
        assert threads.submit(connect).result() == "connected"


@pytest.mark.parametrize(
    ("nodes", "cores"),
    [
        ([(True, {"CPU": 16.0, "GPU": 1.0})], 2),
        ([(True, {"CPU": 1.0, "GPU": 1.0})], 1),
        ([(True, {"CPU": 1.0, "GPU": 1.0}), (True, {"CPU": 64.0})], 1),
        ([(True, {"CPU": 1.0, "GPU": 1.0}), (True, {"CPU": 4.0, "GPU": 8.0})], 2),
        ([(True, {"CPU": 1.0, "GPU": 1.0}), (False, {"CPU": 4.0, "GPU": 8.0})], 1),
        ([(True, {"GPU": 1.0}), (True, {"CPU": 64.0})], 0),
    ],
)
def test_a_task_with_a_gpu_takes_no_more_cores_than_a_node_with_one_has(ray, nodes, cores):
    ray(nodes=nodes)
    assert cores_beside_gpus(2) == cores
