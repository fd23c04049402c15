"""Text files written completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomic(text: str, path: Path) -> None:
    """Write a text file by way of a neighbour that replaces it, flushed to disk before the swap.

    A plain `open` rather than `tempfile` keeps the permissions that the umask asks for. Names of files and folders may
    hold bytes that are no text; they are written as escapes.
    """
    neighbour = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with neighbour.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        neighbour.replace(path)
    finally:
        neighbour.unlink(missing_ok=True)
