"""What a grading process sets for itself before it computes: imports, threads, kept memory, whom it dies with."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lumbar_kernel.runtime.deferred_compiler import defer_compiler

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of the GNU C library's mallopt(3)."""

PR_SET_PDEATHSIG = 1
"""Option of Linux's prctl: the signal that a process gets when its parent dies."""

KEPT_BLOCK, KEPT_BYTES = 1 << 26, 1 << 28
"""Largest block that is kept, above a network's largest layer and below a study's pixels, and how much is kept at the
end of the heap."""

KERNELS_KEPT = 2048
"""Compiled kernels that oneDNN keeps, one for each kind of layer and number of pictures: more than a run needs (1,186
for 40 studies). A smaller cache helps little: every study needs the same ones in the same order, so that each is
dropped shortly before it is needed again."""


def prepare_grading() -> None:
    """Let this process import and compute networks fast, in memory that does not grow; call it before torch is used."""
    defer_compiler()
    keep_freed_memory()
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS_KEPT))


def keep_freed_memory(*, block: int = KEPT_BLOCK, kept: int = KEPT_BYTES) -> None:
    """Let the C library reuse freed memory instead of giving it back to the system; does nothing with another library.

    A network's layers allocate and free tens of megabytes each. By default every one of them is mapped, cleared page by
    page and unmapped again, which took more time than the arithmetic of small networks.

    Args:
        block: bytes of the largest block that is reused.
        kept: bytes that may stay free at the end of the heap.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, block)
        library.mallopt(M_TRIM_THRESHOLD, kept)


def die_with_parent() -> None:
    """Make Linux kill this process as soon as its parent is gone, so that it does not run beside a restarted one.

    On other systems the broken pipe ends it at its next message.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def collection_paused() -> Iterator[None]:
    """Collect no garbage inside.

    Imports and networks make a million objects that stay; looking through them time and again takes a fifth as long.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, in torch and OpenCV alike, and as before afterwards.

    Several workers of one thread use the cores better than one worker of several, whose threads wait for one another
    and for the readers. And grades are the same to the last bit whatever the number of cores.
    """
    import cv2
    import torch

    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
