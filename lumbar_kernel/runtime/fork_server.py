"""A process that imports torch and loads the networks once, then forks the first workers of a run.

Each worker would spend seconds and hundreds of megabytes on that; forked ones share both. The server starts before the
studies are known and the devices are probed, and gets its tasks when they are. It computes on one thread and on the
processor alone, since a fork copies neither threads nor an accelerator that was started. Workers that replace lost ones
are started without it.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

from lumbar_kernel.config import Config
from lumbar_kernel.processes import KILLED_SECONDS, spawn_context
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.messages import Shard
from lumbar_kernel.runtime.process_settings import collection_paused, die_with_parent, prepare_grading

CAN_FORK = sys.platform == "linux"
"""Elsewhere processes cannot be forked, or system libraries do not survive it."""

Entry = Callable[[Config, Shard, Budget, Connection, Any], None]
"""A worker's work: with a shard, what is left of the time, the end of its pipe, and what was loaded or None."""


@dataclass(frozen=True, eq=False)
class Fork:
    """What the server does: makes what the workers share, and lets each of those that it forks work with it."""

    load: Callable[[Config], Any]
    entry: Entry


class ForkServer:
    """The server as the pool of workers sees it; a context manager that ends it.

    Args:
        fork: what it does.
        config: options of the run.
        seconds: left to the run, None without a limit.

    Raises:
        OSError: the system starts no process.
    """

    def __init__(self, fork: Fork, config: Config, seconds: float | None) -> None:
        context = spawn_context()
        with ExitStack() as ends:  # closed where no process starts
            self._control, control = (ends.enter_context(end) for end in context.Pipe())
            self._process = context.Process(target=_serve, args=(fork, config, seconds, control))
            self._process.start()
            ends.pop_all()
        control.close()
        self._workers: list[ForkedWorker] = []

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(KILLED_SECONDS)

    def fork(self, config: Config, tasks: Sequence[tuple[Shard, Connection]]) -> list[ForkedWorker]:
        """The workers that it forks when it has loaded; called once.

        Args:
            config: options of each worker.
            tasks: a shard and the sending end of a pipe for each worker; the ends are closed here.
        """
        assert self._process.pid is not None
        self._workers = [ForkedWorker(self) for _ in tasks]
        # through a file, since a server reads nothing while it loads, so that a full pipe would block this process;
        # one that was lost, or without a file, forks nothing, which shows at the ends of the workers' pipes
        with suppress(OSError), tempfile.TemporaryFile() as file:
            pickle.dump((config, [shard for shard, _ in tasks]), file)
            file.flush()
            for handle in (file.fileno(), *(sender.fileno() for _, sender in tasks)):
                send_handle(self._control, handle, self._process.pid)
        for _, sender in tasks:
            sender.close()
        return self._workers

    def receive(self, seconds: float = 0.0) -> bool:
        """Take one message on a worker that has started or ended, waiting so long; False when none came or can come."""
        try:
            if not self._control.poll(seconds):
                return False
            number, pid, exit_code = self._control.recv()
        except (EOFError, OSError):
            return False
        self._workers[number].pid, self._workers[number].exitcode = pid, exit_code
        return True

    def ended(self, seconds: float) -> int | None:
        """The exit code of the server, None when it does not end within so many seconds."""
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> None:
        """End the server and with it every worker that it has forked."""
        self._process.kill()

    def close(self, seconds: float) -> None:
        """End the server, which has nothing to save and would take its time to unload torch; wait so many seconds."""
        self._process.kill()
        self._process.join(seconds)
        self._control.close()


@dataclass(eq=False)
class ForkedWorker:
    """A worker that the server forks, with what a pool needs of a `multiprocessing.Process`.

    Attributes:
        server: its parent.
        pid: None until it is forked.
        exitcode: None until it has ended, or when its server was lost; that of a server that was lost before it forked.
    """

    server: ForkServer
    pid: int | None = None
    exitcode: int | None = None

    def join(self, timeout: float) -> None:
        """Wait for its end for so many seconds."""
        until = time.monotonic() + timeout
        while self.exitcode is None and self.server.receive(max(0.0, until - time.monotonic())):
            pass
        if self.pid is None:
            self.exitcode = self.server.ended(max(0.0, until - time.monotonic()))

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it; a server that has not come to forking it is ended too."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        while self.server.receive():
            pass
        if self.pid is None:
            self.server.kill()
        elif self.exitcode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)


def _serve(fork: Fork, config: Config, seconds: float | None, control: Connection) -> None:
    """Entry of the server: load, fork a worker for each task, report its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt reaches the supervisor, which stops the workers
    die_with_parent()
    prepare_grading()
    budget = Budget(seconds, reserve=config.reserve)
    with collection_paused():
        loaded = fork.load(config)
        gc.freeze()  # else collections would write to shared pages, which copies them
    context, running = multiprocessing.get_context("fork"), {}
    with os.fdopen(recv_handle(control), "rb") as file:
        file.seek(0)
        config, shards = pickle.load(file)
    senders = [Connection(recv_handle(control), readable=False) for _ in shards]
    for number, (shard, sender) in enumerate(zip(shards, senders, strict=True)):
        task = (config, shard, budget, sender, loaded)
        process = context.Process(target=_work, args=(number, fork.entry, task, control, senders[number + 1 :]))
        process.start()
        sender.close()
        running[process.sentinel] = number, process
    while running:
        for sentinel in wait(list(running)):
            assert isinstance(sentinel, int)
            number, process = running.pop(sentinel)
            process.join()
            control.send((number, process.pid, process.exitcode))


def _work(
    number: int,
    entry: Entry,
    task: tuple[Config, Shard, Budget, Connection, Any],
    control: Connection,
    others: Sequence[Connection],
) -> None:
    """Entry of a forked worker: its pipes must end with their owners, so it closes those that are not its own.

    It reports its start before it sends anything of its own, so that whoever has heard of it knows its process.
    """
    die_with_parent()
    control.send((number, os.getpid(), None))
    for end in (control, *others):
        end.close()
    entry(*task)
