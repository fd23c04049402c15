"""Fresh processes ("spawn") that never import the caller's main module.

A fork would copy the locks of torch and CUDA, except from a process of one thread that was made for it
(`runtime.fork_server`). A plain spawn imports the script that called `predict` once more in every
child, which runs it again where it has no `if __name__ == "__main__":`. The processes here run functions of importable
modules only, so they need nothing of the caller's main module.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any

_LOCK = threading.Lock()

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Numbers of threads of torch and of NumPy's linear algebra. The project computes in several processes at once, whose
threads would wait for one another."""

STOPPING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to end."""

KILLED_SECONDS = 3.0
"""Longest wait for a process that was killed: a driver or a disk that does not answer may keep it."""


@contextmanager
def _main_without_origin() -> Iterator[None]:
    """Hide where the main module came from: a child imports it by its spec or file, and skips it without either."""
    with _LOCK:
        attributes: dict[str, Any] = vars(sys.modules["__main__"])
        hidden: dict[str, Any] = {name: attributes.pop(name) for name in ("__spec__", "__file__") if name in attributes}
        attributes["__spec__"] = None
        try:
            yield
        finally:
            attributes.update(hidden)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let children compute on one thread where the user named no number: libraries read it when they are loaded."""
    absent = [name for name in THREAD_VARIABLES if name not in os.environ]
    os.environ.update(dict.fromkeys(absent, "1"))
    try:
        yield
    finally:
        for name in absent:
            os.environ.pop(name, None)


class _Process(SpawnProcess):
    """A spawned process that does not import the main module of its parent, and computes on one thread."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 - the name is the standard library's
        with _main_without_origin(), _one_thread_each():
            return SpawnProcess._Popen(process_obj)


class _Context(SpawnContext):
    Process = _Process


def spawn_context(*, with_main: bool = False) -> SpawnContext:
    """The context in which every process of the project is started.

    Args:
        with_main: let children import the caller's main module, for commands whose work is a function of their own.
    """
    return multiprocessing.get_context("spawn") if with_main else _Context()


def process_pool(workers: int, *, with_main: bool = False) -> ProcessPoolExecutor:
    """A pool of `workers` freshly started processes, a context manager; `with_main` as for `spawn_context`."""
    return ProcessPoolExecutor(workers, mp_context=spawn_context(with_main=with_main))
