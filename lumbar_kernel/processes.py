"""Processes started afresh ("spawn"): a fork would copy the locks of torch and CUDA."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import SpawnContext


def spawn_context() -> SpawnContext:
    """The context in which every process of the project is started."""
    return multiprocessing.get_context("spawn")


def process_pool(workers: int) -> ProcessPoolExecutor:
    """A pool of `workers` freshly started processes; a context manager."""
    return ProcessPoolExecutor(workers, mp_context=spawn_context())
