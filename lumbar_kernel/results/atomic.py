"""Files written completely or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def as_utf8(text: str) -> bytes:
    """A text as files hold it, with escapes in place of bytes of names that are no text."""
    return text.encode("utf-8", errors="backslashreplace")


def readable(text: str) -> str:
    """A text as it comes back from a file: with these escapes it can be encoded everywhere, also in links and JSON."""
    return as_utf8(text).decode()


def write_atomic(content: str | bytes | Iterable[bytes], path: Path, *, synced: bool = True) -> None:
    """Write a file by way of a neighbour that replaces it.

    A plain `open` rather than `tempfile` keeps the permissions that the umask asks for. Names of files and folders may
    hold bytes that are no text; text is written in UTF-8 with these as escapes.

    Args:
        content: text, bytes, or blocks of bytes.
        path: of the file.
        synced: flush to disk before the swap, which takes milliseconds, so that not even a power failure leaves less.
    """
    # no process id, since machines may share the folder
    neighbour = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    data = as_utf8(content) if isinstance(content, str) else content
    try:
        with neighbour.open("wb") as file:
            file.writelines([data] if isinstance(data, bytes) else data)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        neighbour.replace(path)
    finally:
        neighbour.unlink(missing_ok=True)
