"""Temporary folders that do not outlive their process for long, since they may hold data of patients.

A process that is killed cannot remove its temporary folder. Each folder is therefore locked as long as its process
lives, and whoever makes the next one on the same machine first removes those that nobody locks any more.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

from lumbar_kernel.runtime.folder_lock import lock, opened

PREFIX = "lumbar_kernel_archive_"
"""Of the names of temporary folders; nothing else may have it, for such folders are removed."""


def new_place() -> Path:
    """A path for a temporary folder that no other one has."""
    return Path(tempfile.gettempdir()) / f"{PREFIX}{uuid4().hex}"


@contextmanager
def temporary_folder(folder: Path | None = None) -> Iterator[Path]:
    """A folder for this user alone that is removed again, by this process or where it is killed by the next one.

    Args:
        folder: where, as `new_place` gave it; a new place when None.
    """
    folder = folder or new_place()
    for left in folder.parent.glob(f"{PREFIX}*"):
        with opened(left) as handle:
            if handle is not None and lock(handle, wait=False):
                shutil.rmtree(left, ignore_errors=True)
    with ExitStack() as held:
        held.callback(shutil.rmtree, folder, ignore_errors=True)
        while True:
            folder.mkdir(mode=0o700)
            handle = held.enter_context(opened(folder))
            if handle is not None:
                lock(handle, wait=True)
            if folder.is_dir():  # and not removed by another process before it was locked
                break
        yield folder
