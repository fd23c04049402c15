"""The Ray cluster: a local one, or one by its address; and how many shards are handed to it at a time."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import ray

from lumbar_kernel.errors import ConfigError
from lumbar_kernel.processes import STOPPING

MAX_RETRIES = 3
"""How often Ray tries a task again whose process or node was lost."""

AHEAD = 2
"""Tasks handed to Ray for each that can run, so that none waits for the driver and an autoscaler sees demand."""

MIN_IN_FLIGHT = 4

Item = TypeVar("Item")


@contextmanager
def connected(address: str | None, *, cores: int | None = None) -> Iterator[None]:
    """Connect to the cluster at an address, or start Ray on this machine; a connection that exists is used and kept.

    Raises:
        ConfigError: there is no cluster at the address.
    """
    if ray.is_initialized():
        yield
        return
    # by default Ray tries a task again forever whose process it killed for lack of memory
    os.environ.setdefault("RAY_task_oom_retries", str(MAX_RETRIES))
    # what processes of the cluster write stays with Ray: results and failures come back with the tasks
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"num_cpus": cores, "include_dashboard": None}
    with _own_exits() as set_handlers_again:
        try:
            ray.init(address=address or "local", **{key: value for key, value in options.items() if value is not None})
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            msg = f"no Ray cluster answers at {address}: {error}" if address else f"Ray cannot be started here: {error}"
            raise ConfigError(msg) from error
        set_handlers_again()
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _own_exits() -> Iterator[Callable[[], None]]:
    """Let signals that ask this process to end do so as before Ray was started, with the same exit codes.

    Ray replaces their handlers, and the exits that these ask for while it waits by its own. What is given sets the
    handlers again.
    """
    requests: list[SystemExit] = []
    here = threading.current_thread() is threading.main_thread()  # no other thread may set any
    found = {number: signal.getsignal(number) for number in STOPPING} if here else {}
    handlers = {number: handler for number, handler in found.items() if handler is not None}  # those set from Python

    def answer(number: int, frame: FrameType | None) -> None:
        handler = handlers[signal.Signals(number)]
        assert callable(handler)
        try:
            handler(number, frame)
        except SystemExit as request:
            requests.append(request)
            raise

    def set_again() -> None:
        for number, handler in handlers.items():
            signal.signal(number, answer if callable(handler) else handler)

    try:
        yield set_again
    except SystemExit:
        if requests:
            raise requests[0] from None
        raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def cores_beside_gpus(most: int) -> float:
    """Cores that a task with a GPU may take, `most` or what the largest node with a GPU has; 0 where there is none."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return min(most, max((float(node.get("CPU", 0.0)) for node in nodes if node.get("GPU")), default=0.0))


def in_flight(
    submit: Callable[[Item], ray.ObjectRef], items: Iterable[Item], *, cores: float = 1, gpus: float = 0
) -> Iterator[tuple[Item, ray.ObjectRef]]:
    """Submit tasks while the cluster has room for them or soon will, and give back those that ended, as they end.

    Args:
        submit: starts a task.
        items: one task each; taken as tasks are started, never all at once.
        cores: that a task takes.
        gpus: that a task takes, 0 for none.
    """
    waiting: dict[ray.ObjectRef, Item] = {}
    for item in items:
        while len(waiting) >= max(MIN_IN_FLIGHT, AHEAD * _slots(cores, gpus)):  # nodes come and go
            yield from _ended(waiting)
        waiting[submit(item)] = item
    while waiting:
        yield from _ended(waiting)


def _slots(cores: float, gpus: float) -> int:
    """How many tasks of a size the cluster can run at the moment, at least one."""
    total = ray.cluster_resources()
    fitting = [total.get("CPU", 0.0) / cores] + ([total.get("GPU", 0.0) / gpus] if gpus else [])
    return max(1, int(min(fitting)))


def _ended(waiting: dict[ray.ObjectRef, Item]) -> Iterator[tuple[Item, ray.ObjectRef]]:
    done, _ = ray.wait(list(waiting), num_returns=1)
    for reference in done:
        yield waiting.pop(reference), reference
