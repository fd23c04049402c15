"""Walking a folder: every file that may be DICOM, folder by folder, each folder once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})


def walk(root: Path, closed: list[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Every folder below a root with the names of its files, in natural order, hidden ones left out.

    Each folder is visited once, under its own name where it has one below the root, else under that of a link to it;
    links to what holds the root are not followed.

    Args:
        root: absolute path of a folder.
        closed: receives the folders that cannot be listed.
    """
    seen = {_file_number(folder) for folder in root.resolve().parents}
    starts = [root]

    def note(error: OSError) -> None:
        closed.append(Path(error.filename))

    for start in starts:  # grows by the linked folders, which come after all others
        for folder, folders, names in os.walk(start, onerror=note):
            if (number := _file_number(Path(folder))) in seen:
                folders.clear()
                continue
            seen.add(number)
            inner = [Path(folder, name) for name in natural(folders) if not ignored(name)]
            starts += [path for path in inner if path.is_symlink()]
            folders[:] = [path.name for path in inner if not path.is_symlink()]
            if shown := [name for name in natural(names) if not ignored(name)]:
                yield Path(folder), shown


def is_folder(path: Path) -> bool:
    """Whether this is a folder; False where nobody may look."""
    try:
        return path.is_dir()
    except OSError:
        return False


def ignored(name: str) -> bool:
    """Names that hold no images: hidden ones, what macOS adds to archives, and the index of a medium."""
    return name.startswith(".") or name in ("__MACOSX", "DICOMDIR")


def has_dicom_suffix(name: str) -> bool:
    """Whether a file should be DICOM by its name; whether it can be read shows later."""
    return os.path.splitext(name)[1].lower() in DICOM_SUFFIXES  # noqa: PTH122 - no path object for each of 100,000 names


def natural_key(name: str) -> tuple[tuple[int, int, str, str], ...]:
    """Sort key that orders numbers inside names by value, so that `2.dcm` comes before `10.dcm`."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return tuple(_number_key(part) if part.isdecimal() else (1, 0, part, part) for part in parts)


def _number_key(digits: str) -> tuple[int, int, str, str]:
    """By value, without `int`, which refuses the thousands of digits that a broken UID may have."""
    value = digits.lstrip("0")
    return (0, len(value), value, digits)


def natural(names: Iterable[str]) -> list[str]:
    """Names in the order of `natural_key`."""
    return sorted(names, key=natural_key)


def _file_number(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
