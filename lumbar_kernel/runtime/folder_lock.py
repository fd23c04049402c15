"""Locks on folders: held as long as a process lives, so that one that is killed leaves none behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)


@contextmanager
def opened(folder: Path) -> Iterator[int | None]:
    """A folder, opened so that it can be locked; None where it is gone, of another user, no folder or a link to one."""
    try:
        handle = os.open(folder, FOLDER_FLAGS)
    except OSError:
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def lock(handle: int, *, wait: bool) -> bool | None:
    """Lock what is opened until it is closed or this process ends.

    Returns:
        Whether that worked: False where somebody else holds the lock, None where folders cannot be locked, as on some
        file systems and on Windows.
    """
    try:
        import fcntl  # not on every system

        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True
