"""One job over many inputs, in processes, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tqdm import tqdm

from lumbar_kernel.processes import process_pool

Input = TypeVar("Input")
Result = TypeVar("Result")


def each(job: Callable[[Input], Result], inputs: Sequence[Input], *, workers: int, unit: str) -> list[Result]:
    """The results of a job that other processes can import, in the order of its inputs; one worker is this process."""
    if workers <= 1:
        return list(tqdm(map(job, inputs), total=len(inputs), unit=unit))
    with process_pool(workers) as pool:
        return list(tqdm(pool.map(job, inputs, chunksize=4), total=len(inputs), unit=unit))
