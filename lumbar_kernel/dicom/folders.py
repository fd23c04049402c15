"""Walking a folder: where its studies lie, and every file that may be DICOM, folder by folder, each folder once."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lumbar_kernel.config import SPLITS
from lumbar_kernel.dicom.packed_files import Archive, archive_of
from lumbar_kernel.errors import ConfigError

logger = logging.getLogger(__name__)

IMAGE_FOLDERS = {split: f"{split}_images" for split in SPLITS}
"""Split of the competition's data → folder of its images."""

DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
PACKED_SUFFIXES = tuple(f"{suffix}{packed}" for suffix in sorted(DICOM_SUFFIXES) for packed in (".gz", ".bz2", ".xz"))


@dataclass(frozen=True)
class Layout:
    """Where the studies of a folder lie.

    Attributes:
        images: the folder that holds them.
        tables: the folder that may hold the competition's tables.
        split: whose tables belong to them.
        is_competition: whether paths settle studies and series, as `{study}/{series}` below `images`.
    """

    images: Path
    tables: Path
    split: str
    is_competition: bool

    @classmethod
    def ordinary(cls, folder: Path, *, split: str) -> Layout:
        """That of a folder that is not the competition's."""
        return cls(folder, folder, split, is_competition=False)


def layout_of(data: Path, *, split: str) -> Layout:
    """The split of the competition's data, or all of another folder; the other split is never taken instead.

    The images of one split, given by themselves, are read with its tables, whatever split is asked for.

    Raises:
        ConfigError: the folder holds only the other split.
    """
    name = IMAGE_FOLDERS[split]
    (other,) = (half for half in SPLITS if half != split)
    for half in (split, other):
        if data.name == IMAGE_FOLDERS[half]:
            return Layout(data, data.parent, half, is_competition=True)
    beside = is_folder(data / IMAGE_FOLDERS[other])
    if is_folder(data / name):
        if beside:
            logger.info("reading %s; %s beside it is left out (--split %s)", name, IMAGE_FOLDERS[other], other)
        return Layout(data / name, data, split, is_competition=True)
    if beside:
        msg = f"{data} holds {IMAGE_FOLDERS[other]} but no {name}; choose the split {other} (--split {other})"
        raise ConfigError(msg)
    return Layout.ordinary(data, split=split)


def walk(root: Path, closed: list[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Every folder below a root with the names of its files, in natural order, hidden ones left out.

    Each folder is visited once, under its own name where it has one below the root, else under that of a link to it;
    links to what holds the root are not followed.

    Args:
        root: absolute path of a folder, or of one inside an archive.
        closed: receives the folders that cannot be listed.
    """
    if found := _inside_archive(root):
        yield from _walk_archive(root, *found)
        return
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
            inner = [Path(folder, name) for name in _shown(folders)]
            links = dict.fromkeys(path for path in inner if os.path.islink(path))  # noqa: PTH114 - `is_symlink` may raise
            starts += links
            folders[:] = [path.name for path in inner if path not in links]
            if shown := _shown(names):
                yield Path(folder), shown


def _walk_archive(folder: Path, archive: Archive, name: str) -> Iterator[tuple[Path, list[str]]]:
    if names := _shown(archive.files(name)):
        yield folder, names
    for own in _shown(archive.subfolders(name)):
        yield from _walk_archive(folder / own, archive, f"{name}/{own}" if name else own)


def _shown(names: Iterable[str]) -> list[str]:
    return natural(name for name in names if not ignored(name))


def is_folder(path: Path) -> bool:
    """Whether this is a folder, on disk or inside an archive; False where nobody may look."""
    try:
        if path.is_dir():
            return True
    except OSError:
        return False
    return _inside_archive(path) is not None


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, in natural order, hidden ones left out."""
    if found := _inside_archive(folder):
        return _shown(found[0].subfolders(found[1]))
    return _shown(path.name for path in folder.iterdir() if is_folder(path))


def top_folder(archive: Path) -> Path:
    """The competition's folder in an archive whose single top folder holds it, else the archive itself."""
    folder = archive
    names = {*IMAGE_FOLDERS.values()}
    while len(inner := subfolders(folder)) == 1 and inner[0] not in names:
        folder = folder / inner[0]
    return folder if names.intersection(inner) else archive


def _inside_archive(folder: Path) -> tuple[Archive, str] | None:
    """The archive and the name inside it of a folder that is no folder on disk."""
    if os.path.isdir(folder):  # noqa: PTH112 - not `is_dir`, which raises without permission
        return None
    found = archive_of(folder)
    return found if found and found[0].is_folder(found[1]) else None


def ignored(name: str) -> bool:
    """Names that hold no images: hidden ones, what macOS adds to archives, and the index of a medium."""
    return name.startswith(".") or name in ("__MACOSX", "DICOMDIR")


def has_dicom_suffix(name: str) -> bool:
    """Whether a file should be DICOM by its name; whether it can be read shows later."""
    return os.path.splitext(name)[1].lower() in DICOM_SUFFIXES  # noqa: PTH122 - no path object for each of 100,000 names


def is_packed_dicom(name: str) -> bool:
    """Whether a file is a single DICOM file packed by itself, by its name."""
    return name.lower().endswith(PACKED_SUFFIXES)


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
