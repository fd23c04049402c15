"""What an archive may be, a tree, zips and tars, a DICOMDIR, a table or a URL → its folders, one after the other.

Nothing is held in memory but the folder at hand, so that archives of any size can be listed.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path

from lumbar_kernel.archive.storage import Folder, is_url, stays_below
from lumbar_kernel.archive.study_table import TableRow, folder_and_name, is_table, read_rows
from lumbar_kernel.containers import COMPRESSED_TAR, DICOMDIR, TAR, ZIP, container_kind, looks_like_archive
from lumbar_kernel.dicom.dicomdir import indexed_files
from lumbar_kernel.dicom.folders import Layout, ignored, layout_of, natural, top_folder, walk
from lumbar_kernel.dicom.tables import Roles, read_tables
from lumbar_kernel.errors import ConfigError, DicomError

logger = logging.getLogger(__name__)

LEADS_OUT = "paths that lead out of the archive"
"""Absolute ones and those with `..` behind a URL: fetched, their files would lie outside the temporary folder."""


@dataclass(frozen=True)
class Listing:
    """Files of one folder.

    Attributes:
        folder: relative to the root, empty for the root itself; may lead into an archive.
        names: of the files, in natural order; none for a study that only a table names.
        study: id of the study where a table or the layout gives it, else empty.
        series: id of the series where the layout gives it, else empty.
        role: of the series where the table of DATA gives it; `Source.roles` are those of the competition's table.
    """

    folder: str
    names: tuple[str, ...]
    study: str = ""
    series: str = ""
    role: str | None = None


@dataclass(eq=False)
class Source:
    """An archive.

    Attributes:
        root: folder that all listings are relative to.
        data: as the user gave it.
        layout: where the studies lie, None behind a URL and with a table.
        skipped: phrase → number of things that are not read.
    """

    root: Folder
    data: str
    layout: Layout | None = None
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def roles(self) -> Roles:
        """What the competition's table beside the studies says of their series; none behind a URL or with a table."""
        return self._tables[0]

    @cached_property
    def _tables(self) -> tuple[Roles, list[str]]:
        return ({}, []) if self.layout is None else read_tables(self.layout.tables, split=self.layout.split)

    def listings(self) -> Iterator[Listing]:
        """All folders with files, in a fixed order."""
        if is_table(self.data):
            yield from self._of_table()
        elif self.layout is None:
            yield from (Listing(folder, names) for folder, names in self._remote_folders(self.root.path))
        else:
            yield from self._of_path(Path(self.data), self.layout)

    def _of_path(self, data: Path, layout: Layout) -> Iterator[Listing]:
        root = Path(self.root.text)
        if container_kind(data) == DICOMDIR:
            files, missing = indexed_files(data)
            self.skipped["listed in the DICOMDIR and absent"] += len(missing)
            yield from (Listing(_relative(folder, root), tuple(names)) for folder, names in files.items())
            return
        base, competition = layout.images, layout.is_competition
        roles, sample = self._tables
        yield from (Listing("", (), study=study) for study in dict.fromkeys([*roles, *sample]))
        for folder, names in self._folders(base):
            parts = folder.relative_to(base).parts
            placed = len(parts) == 2 and bool(competition or roles)  # where the competition's layout has a series
            study = parts[0] if placed or (competition and parts) else ""
            yield Listing(_relative(folder, root), tuple(names), study, parts[1] if placed else "")

    def _folders(self, base: Path) -> Iterator[tuple[Path, list[str]]]:
        """Folders on disk or in an archive, and those of archives among the files of a folder."""
        closed: list[Path] = []
        inside = not base.is_dir()
        for folder, names in walk(base, closed) if inside else _tree(base, closed, frozenset()):
            archives = [name for name in names if looks_like_archive(name)]
            yield folder, [name for name in names if name not in archives]
            for name in archives:
                kind = container_kind(folder / name)
                if inside or kind not in (ZIP, TAR):
                    what = "compressed tars, which must be unpacked" if kind == COMPRESSED_TAR else "other archives"
                    self.skipped[what] += 1
                    continue
                yield from walk(folder / name, closed)
        self.skipped["folders that cannot be listed"] += len(closed)

    def _remote_folders(self, top: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Folders behind a URL, relative to the root, with the names of their files; hidden ones are left out."""
        for folder, _, files in self.root.system.walk(top):
            names = natural(name for name in files if name and not ignored(name))
            inner = _relative(Path(str(folder)), Path(self.root.path))
            if not stays_below(inner):
                self.skipped[LEADS_OUT] += len(names)
            elif names and not any(map(ignored, Path(str(folder)).relative_to(top).parts)):
                yield inner, tuple(names)

    def _of_table(self) -> Iterator[Listing]:
        for _, rows in groupby(read_rows(self.data), key=lambda row: row.place):
            yield from self._of_rows(list(rows))

    def _of_rows(self, rows: Sequence[TableRow]) -> Iterator[Listing]:
        """The files of rows that lie in one folder; a row may also name a folder or an archive of a study."""
        first, names, empty = rows[0], [], True
        inside = [row for row in rows if self.root.local is not None or stays_below(row.path)]
        self.skipped[LEADS_OUT] += len(rows) - len(inside)
        for row in inside:
            if (folders := self._inside(row.path)) is None:
                names.append(row.name)
                continue
            for folder, found in folders:
                empty = False
                yield Listing(folder, found, first.study, row.series, row.role)
        if names:
            yield Listing(first.parent, tuple(natural(names)), first.study, first.series, first.role)
        elif empty:
            yield Listing("", (), first.study)  # a study of the table still, even if its paths lead to nothing

    def _inside(self, path: str) -> Iterator[tuple[str, tuple[str, ...]]] | None:
        """The folders with files of a folder or an archive that a table names, None of a file."""
        place = f"{self.root.path}/{path}"
        if self.root.local is None:
            return self._remote_folders(place) if self.root.system.isdir(place) else None
        local = self.root.local / path
        if not (local.is_dir() or container_kind(local) in (ZIP, TAR)):
            return None
        return ((_relative(folder, self.root.local), tuple(names)) for folder, names in self._folders(local))


def open_source(data: str, *, split: str) -> Source:
    """An archive by its path or URL.

    Raises:
        ConfigError: it does not exist, cannot be read in place, or holds only the competition's other split.
    """
    if is_table(data):
        folder, name = folder_and_name(data)
        if not folder.has(name):
            msg = f"there is no table {data}"
            raise ConfigError(msg)
        return Source(folder, data)
    if is_url(data):
        folder = Folder.of(data)
        if not folder.system.isdir(folder.path):
            msg = f"{data} is no folder that can be listed"
            raise ConfigError(msg)
        return Source(folder, data)
    path = Path(os.path.abspath(os.path.expanduser(data)))  # noqa: PTH100, PTH111 - resolve() would follow links
    kind = container_kind(path)
    if kind == COMPRESSED_TAR:
        msg = f"{path.name} is compressed as a whole and must be unpacked first"
        raise ConfigError(msg)
    if kind is None and not path.is_dir():
        msg = f"DATA must be a folder, zip, tar, DICOMDIR, table or URL of studies, not {data!r}"
        raise ConfigError(msg)
    try:
        if kind == DICOMDIR:
            indexed_files(path)
            return Source(Folder(str(path.parent)), str(path), Layout.ordinary(path.parent, split=split))
        root = top_folder(path) if kind else path
    except (DicomError, OSError) as error:
        raise ConfigError(str(error)) from error
    return Source(Folder(str(root)), str(path), layout_of(root, split=split))


def _tree(folder: Path, closed: list[Path], above: frozenset[tuple[int, int]]) -> Iterator[tuple[Path, list[str]]]:
    """Every folder below one on disk, links to folders included unless they lead back to where they came from."""
    try:
        status = folder.stat()
        own = (status.st_dev, status.st_ino)
        entries = [] if own in above else list(os.scandir(folder))
        folders = [entry.name for entry in entries if not ignored(entry.name) and entry.is_dir()]
        names = [entry.name for entry in entries if not ignored(entry.name) and not entry.is_dir()]
    except OSError:
        closed.append(folder)
        return
    if names:
        yield folder, natural(names)
    for name in natural(folders):
        yield from _tree(folder / name, closed, above | {own})


def _relative(folder: Path, root: Path) -> str:
    """Relative to the root; an absolute path for what a table names elsewhere."""
    try:
        text = folder.relative_to(root).as_posix()
    except ValueError:
        return str(folder)
    return "" if text == "." else text
