"""Files inside a zip or tar, read in place under paths such as `studies.zip/4003253/1/7.dcm`.

Such a path is a plain `Path` that the file system refuses, since one of its parents is a file: that file is the
archive. Paths therefore travel to reader processes like any other, and each process keeps the index of what it reads.
"""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from functools import lru_cache
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from lumbar_kernel.containers import TAR, ZIP, container_kind

BOMB_BYTES, BOMB_RATIO = 1 << 24, 250
"""Larger members, and compressed tars, that unpack to more than so many times their size hold no images."""

ENCRYPTED = 0x1
"""Bit of the flags of a zip's member (APPNOTE 4.4.4)."""

BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, NotImplementedError, ValueError)
"""What the standard library raises on damaged archives; a ValueError also for a name that is no text."""

KEPT_INDEXES = 4
DEEPEST = 64
"""Folders within folders of an archive."""


@dataclass(frozen=True)
class _Member:
    """One file of an archive: its size, and where its content is found."""

    size: int
    place: zipfile.ZipInfo | int


class ArchiveError(OSError):
    """A file of an archive, or the whole, that cannot be read; the message gives the reason."""


class Archive:
    """The index of a zip or tar.

    Args:
        path: of the archive.

    Attributes:
        problems: a sentence on each kind of member that cannot be read.

    Raises:
        ArchiveError: it cannot be read at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self._zip: zipfile.ZipFile
        self._members: dict[str, _Member] = {}
        self._folders: dict[str, tuple[dict[str, None], list[str]]] = {"": ({}, [])}
        self._skipped: dict[str, list[str]] = {}
        try:
            if container_kind(path) == ZIP:
                self._zip = zipfile.ZipFile(path)
                self._list_zip()
            else:
                self._list_tar()
        except BROKEN as error:
            if not self._members:
                msg = f"{path.name} cannot be read: {error}"
                raise ArchiveError(msg) from error
            self.problems.append(f"{path.name} breaks off, later files are lost: {error}")
        for reason, names in self._skipped.items():
            self.problems.append(f"{path.name}: {len(names)} files {reason}, such as {names[0]}")

    def is_folder(self, name: str) -> bool:
        """Whether there are files below this name."""
        return name in self._folders

    def is_file(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return name in self._members

    def subfolders(self, name: str) -> list[str]:
        """Names of the folders directly in a folder."""
        return [*self._folders[name][0]]

    def files(self, name: str) -> list[str]:
        """Names of the files directly in a folder."""
        return self._folders[name][1]

    def read(self, name: str, *, most: int) -> tuple[bytes, int]:
        """The first bytes of a file, and its whole size.

        Raises:
            ArchiveError: there is no such file, or it is encrypted, broken or a decompression bomb.
        """
        member = self._members.get(name)
        if member is None:
            msg = f"no such file in {self.path.name}"
            raise ArchiveError(msg)
        try:
            if isinstance(member.place, zipfile.ZipInfo):
                return self._unzipped(member.place, most), member.size
            with self.path.open("rb") as file:
                file.seek(member.place)
                return file.read(min(most, member.size)), member.size
        except (*BROKEN, RuntimeError) as error:
            msg = f"cannot be unpacked: {error}"
            raise ArchiveError(msg) from error

    def _unzipped(self, info: zipfile.ZipInfo, most: int) -> bytes:
        if info.flag_bits & ENCRYPTED:
            msg = "encrypted; unpack the archive with its password"
            raise ArchiveError(msg)
        if info.file_size > BOMB_BYTES and info.file_size > BOMB_RATIO * info.compress_size:
            msg = f"{info.compress_size} bytes that unpack to {info.file_size}, no image"
            raise ArchiveError(msg)
        with self._zip.open(info) as file:
            return file.read(most)

    def _list_zip(self) -> None:
        for info in self._zip.infolist():
            if not info.is_dir():
                if info.flag_bits & ENCRYPTED:
                    self._skipped.setdefault("are encrypted and cannot be read", []).append(info.filename)
                self._add(info.filename, _Member(info.file_size, info))

    def _list_tar(self) -> None:
        with tarfile.open(self.path, "r:") as archive:
            for info in archive:
                if info.isreg() and not info.issparse():
                    self._add(info.name, _Member(info.size, info.offset_data))
                elif info.islnk() and (original := self._members.get(plain_name(info.linkname) or "")):
                    self._add(info.name, original)
                elif not info.isdir():
                    self._skipped.setdefault("are links or devices", []).append(info.name)

    def _add(self, stored_name: str, member: _Member) -> None:
        name = plain_name(stored_name)
        if name is None:
            self._skipped.setdefault("have names that lead out of the archive or nowhere", []).append(stored_name)
            return
        if name not in self._members:
            folder, _, own = name.rpartition("/")
            self._folder(folder)[1].append(own)
        self._members[name] = member

    def _folder(self, name: str) -> tuple[dict[str, None], list[str]]:
        if name not in self._folders:
            self._folders[name] = ({}, [])
            above, _, own = name.rpartition("/")
            self._folder(above)[0][own] = None
        return self._folders[name]


def plain_name(stored_name: str) -> str | None:
    """The path of a member without what some writers put before it, None where it leads out of the archive."""
    parts = [part for part in PurePosixPath(stored_name.replace("\\", "/")).parts if part not in ("/", ".")]
    return "/".join(parts) if 0 < len(parts) <= DEEPEST and ".." not in parts else None


def archive_of(path: Path) -> tuple[Archive, str] | None:
    """The archive that a path leads into and the name inside it, empty for the archive itself; None for other paths.

    Raises:
        ArchiveError: the archive cannot be read.
    """
    found = _nearest_file(path.parent)
    if found is None:
        found, name = path, ""
    else:
        name = path.relative_to(found).as_posix()
    try:
        status = found.stat()
    except OSError:
        return None
    if container_kind(found) not in (ZIP, TAR):
        return None
    return _index(found, status.st_mtime_ns, status.st_size), name


@lru_cache(maxsize=4096)
def _nearest_file(folder: Path) -> Path | None:
    """The file that stands where a path wants a folder, None where all parents are folders or absent."""
    for above in (folder, *folder.parents):
        if os.path.isdir(above):  # noqa: PTH112 - asked for each folder of an archive
            return None
        if os.path.isfile(above):  # noqa: PTH113
            return above
    return None


@lru_cache(maxsize=KEPT_INDEXES)
def _index(path: Path, changed: int, size: int) -> Archive:
    """The index of an archive, made again when the file has changed."""
    return Archive(path)


def read_beginning(path: Path, *, most: int) -> tuple[bytes, int]:
    """The first bytes of a file inside an archive, and its whole size; raises ArchiveError where there is none."""
    found = archive_of(path)
    if found is None:
        msg = "no such file, and no archive that could hold it"
        raise ArchiveError(msg)
    archive, name = found
    return archive.read(name, most=most)


def shown_name(path: Path) -> str:
    """Folder and name of a file, or the archive and the whole name inside it."""
    try:
        found = archive_of(path) if path.name and _nearest_file(path.parent) else None
    except ArchiveError:
        found = None
    return f"{path.parent.name}/{path.name}" if found is None else f"{found[0].path.name}/{found[1]}"
