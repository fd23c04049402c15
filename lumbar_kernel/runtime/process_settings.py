"""What a grading process sets for itself before it computes: threads, and how freed memory is kept."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import cv2

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Options of the GNU C library's mallopt(3)."""

KEPT_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Let the C library reuse freed memory instead of giving it back to the system; does nothing with another library.

    A network's layers allocate and free tens of megabytes each. By default every one of them is mapped, cleared page by
    page and unmapped again, which took more time than the arithmetic of small networks.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def set_threads(count: int) -> None:
    """Compute on so many threads, in torch and OpenCV alike."""
    import torch

    torch.set_num_threads(count)
    cv2.setNumThreads(count)
