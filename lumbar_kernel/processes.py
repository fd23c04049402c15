"""Processes that never import the caller's main module: started afresh ("spawn"), or from a server of forks.

A fork of the caller would copy the locks of its threads. A plain spawn imports the script that called `predict` once
more in every child, which runs it again where it has no `if __name__ == "__main__":`. The processes here run functions
of importable modules only, so they need nothing of the caller's main module.

Importing torch and timm takes seconds of a processor. `Preloaded` imports them once, in a server process that does
nothing else and is forked for each worker: the imports run beside the caller's own work, and their memory is shared.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.context import BaseContext, SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any

if sys.platform == "linux":
    from multiprocessing.context import ForkServerContext, ForkServerProcess
else:  # elsewhere `Preloaded` spawns
    ForkServerContext, ForkServerProcess = SpawnContext, SpawnProcess

logger = logging.getLogger(__name__)

_LOCK = threading.Lock()


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


class _Process(SpawnProcess):
    """A spawned process that does not import the main module of its parent."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 - the name is the standard library's
        with _main_without_origin():
            return SpawnProcess._Popen(process_obj)


class _Context(SpawnContext):
    Process = _Process


def spawn_context(*, with_main: bool = False) -> SpawnContext:
    """The context in which every process of the project is started.

    Args:
        with_main: let children import the caller's main module, for commands whose work is a function of their own.
    """
    return multiprocessing.get_context("spawn") if with_main else _Context()


class _ForkedProcess(ForkServerProcess):
    """A process forked from the server, with the environment of its parent as it was when the process was made."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._environment = dict(os.environ)
        self._restore_main = ExitStack()

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:  # noqa: N802 - the name is the standard library's
        assert isinstance(process_obj, _ForkedProcess)
        with process_obj._restore_main as restore_main:
            restore_main.enter_context(_main_without_origin())
            return ForkServerProcess._Popen(process_obj)

    def __getstate__(self) -> dict[str, Any]:
        # It is pickled after the description of the main module, and before the wait for a busy server.
        self._restore_main.close()
        return {key: value for key, value in vars(self).items() if key != "_restore_main"}

    def run(self) -> None:
        os.environ.clear()
        os.environ.update(self._environment)
        super().run()


class _ForkedContext(ForkServerContext):
    Process = _ForkedProcess


class Preloaded:
    """A server of processes with modules already imported; the imports begin at once and block nobody.

    The server lives as long as this process, and every `Preloaded` uses the same one. Where there is no such server,
    processes are spawned.

    Args:
        modules: names of modules; those that cannot be imported are left to the processes themselves.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._ready = threading.Event()
        self.context: BaseContext = spawn_context()
        if sys.platform != "linux":
            self._ready.set()
            return
        self.context = _ForkedContext()
        self.context.set_forkserver_preload(list(modules))
        # The first process comes only when the imports are done, hence a thread that waits for it.
        threading.Thread(target=self._start_first, daemon=True).start()

    def ready(self, seconds: float) -> bool:
        """Whether a process can be started without waiting for imports; waits so many seconds for it."""
        return self._ready.wait(max(0.0, seconds))

    def _start_first(self) -> None:
        try:
            first = self.context.Process(target=os.getpid, daemon=True)  # type: ignore[attr-defined]
            first.start()
            first.join()
        except (OSError, EOFError) as error:
            logger.warning("processes are spawned one by one, since their server cannot be started: %s", error)
            self.context = spawn_context()
        self._ready.set()


def process_pool(workers: int, *, with_main: bool = False) -> ProcessPoolExecutor:
    """A pool of `workers` freshly started processes, a context manager; `with_main` as for `spawn_context`."""
    return ProcessPoolExecutor(workers, mp_context=spawn_context(with_main=with_main))
