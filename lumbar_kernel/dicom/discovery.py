"""A folder of any shape → the files of each study and series, by path where paths settle it and by header where not."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lumbar_kernel.containers import COMPRESSED_TAR, DICOMDIR, TAR, ZIP, container_kind, looks_like_archive
from lumbar_kernel.dicom.dicomdir import indexed_files
from lumbar_kernel.dicom.folders import (
    Layout,
    has_dicom_suffix,
    is_folder,
    is_packed_dicom,
    layout_of,
    natural,
    natural_key,
    subfolders,
    top_folder,
    walk,
)
from lumbar_kernel.dicom.grouping import FilesByFolder, Group, group_by_header, series_of
from lumbar_kernel.dicom.identity import FileIdentity, identify
from lumbar_kernel.dicom.packed_files import ArchiveError, archive_of
from lumbar_kernel.dicom.persons import Warn
from lumbar_kernel.dicom.safe_open import looks_like_dicom
from lumbar_kernel.dicom.tables import read_tables, role_of
from lumbar_kernel.errors import ConfigError, DicomError
from lumbar_kernel.study import SeriesFiles, StudyFiles

logger = logging.getLogger(__name__)

FoundFiles = dict[Path, dict[FileIdentity | None, list[str]]]
"""`Found`, while it is collected."""

FILES_A_STEP = 64
"""Headers read between two looks of the caller at the clock."""

MOST_NAMED = 5
"""Folders, or files, that a sentence names."""


def find_studies(data: Path, *, split: str = "test") -> tuple[StudyFiles, ...]:
    """All studies in a folder, sorted by id.

    The competition's folder, its `{split}_images` alone, one study, one series and any nest of DICOM files are
    understood. Where a table is present, its roles are used and its studies appear even without files.

    Raises:
        ConfigError: the folder does not exist, cannot be listed or holds only the competition's other split.
    """
    scan = Scan(data, split=split)
    for _ in scan:
        pass
    return scan.studies()


class Scan:
    """The search for studies, step by step, so that the caller can look at the clock and use what is known so far.

    Iterating takes the steps: first every folder is listed and one header of each is read, so that nearly all studies
    are known early, then all other headers. In the competition's layout paths settle everything and no header is read.

    Args:
        data: folder of studies.
        split: of the competition's data, one of `SPLITS`.

    Attributes:
        listed: whether every folder has been listed, and one header of each read.
        sample: the studies of the sample submission, in its order.
        notes: a sentence on each thing in the data that is not read.
        unread: folders of which not all files have been looked at, in order; empty in the end.

    Raises:
        ConfigError: the folder does not exist, holds only the other split of the competition's data or, while
            iterating, cannot be listed.
    """

    def __init__(self, data: Path, *, split: str = "test") -> None:
        self.notes: list[str] = []
        self._indexed: dict[Path, list[str]] | None = None
        self._data = self._opened(Path(os.path.abspath(data)))  # noqa: PTH100 - resolve() would follow links
        indexed = self._indexed is not None  # then what lies beside its files does not matter
        layout = Layout.ordinary(self._data, split=split) if indexed else layout_of(self._data, split=split)
        self._images, self._competition = layout.images, layout.is_competition
        self._roles, self.sample = read_tables(layout.tables, split=layout.split)
        self._settled = self._competition or bool(self._roles)
        self._by_path: dict[Path, list[str]] = {}
        self._by_header: FoundFiles = {}
        self._closed: list[Path] = []
        self._archives: list[Path] = []
        self._packed: list[Path] = []
        self.listed = False
        self.unread: dict[Path, list[str]] = {}

    def _opened(self, data: Path) -> Path:
        """The folder to be searched, which may lie inside an archive."""
        kind = container_kind(data)
        try:
            if kind == DICOMDIR:
                self._indexed, missing = indexed_files(data)
                if missing:
                    self.notes.append(f"{data.name} lists {len(missing)} files that are absent, such as {missing[0]}")
                return data.parent
            if kind in (ZIP, TAR) and (found := archive_of(data)):
                self.notes += found[0].problems
                return top_folder(data)
        except (ArchiveError, DicomError) as error:
            raise ConfigError(str(error)) from error
        if kind == COMPRESSED_TAR:
            msg = f"{data.name} is compressed as a whole and must be unpacked first"
            raise ConfigError(msg)
        if not is_folder(data):
            msg = f"the data folder {data} does not exist or is not a folder; give the folder that holds the studies"
            raise ConfigError(msg)
        return data

    def __iter__(self) -> Iterator[None]:
        folders = walk(self._images, self._closed) if self._indexed is None else iter(self._indexed.items())
        for folder, names in folders:
            if self._settled and len(folder.relative_to(self._images).parts) == 2:
                candidates = [name for name in names if has_dicom_suffix(name) or looks_like_dicom(folder / name)]
                if candidates:
                    self._by_path[folder] = candidates
            else:
                self._look_at(folder, names[:1])
                self.unread[folder] = names[1:]
            self._archives += [folder / name for name in names if looks_like_archive(name)]
            self._packed += [folder / name for name in names if is_packed_dicom(name)]
            yield
        # what is in an archive may lie beside it as well, so none is read
        self.notes += self._on_unread(self._archives, "archives", "give each as DATA by itself")
        self.notes += self._on_unread(self._packed, "files packed one by one", "unpack them first")
        if self._images in self._closed:
            msg = f"the data folder {self._images} cannot be listed; its files must be readable"
            raise ConfigError(msg)
        self.listed = True
        for folder in [*self.unread]:
            names = self.unread[folder]
            for start in range(0, len(names), FILES_A_STEP):
                self._look_at(folder, names[start : start + FILES_A_STEP])
                self.unread[folder] = names[start + FILES_A_STEP :]
                yield
            del self.unread[folder]

    @property
    def rest(self) -> str:
        """The folders that have not been searched to the end, in words."""
        names = [folder.relative_to(self._data).as_posix() for folder, left in self.unread.items() if left]
        more = f" and {len(names) - MOST_NAMED} more folders" if len(names) > MOST_NAMED else ""
        unlisted = [] if self.listed else ["folders that were not even listed"]
        return ", ".join([*names[:MOST_NAMED], *unlisted]) + more

    @property
    def complete(self) -> bool:
        """Whether every folder was listed and every header read that is needed."""
        return self.listed and not self.unread

    def known_studies(self) -> tuple[StudyFiles, ...]:
        """The studies that are known so far, without their files."""
        found, _ = self._grouped(warn=logger.debug)
        return tuple(StudyFiles(name, ()) for name in natural({*found, *self._named()}))

    def studies(self) -> tuple[StudyFiles, ...]:
        """The studies as far as the scan has come, sorted by id; what is odd about them is logged."""
        for note in self.notes:
            logger.warning("%s", note)
        found, places = self._grouped(warn=logger.warning)
        return tuple(
            self._study(name, found.get(name, {}), places.get(name)) for name in natural({*found, *self._named()})
        )

    def _grouped(self, *, warn: Warn) -> tuple[dict[str, dict[str, FilesByFolder]], dict[str, tuple[str, Path]]]:
        """Study id → series id → files, and study id → StudyInstanceUID and folder."""
        found: dict[str, dict[str, FilesByFolder]] = defaultdict(dict)
        places: dict[str, tuple[str, Path]] = {}
        for folder, names in self._by_path.items():
            found[folder.parent.name][folder.name] = {folder: [*names]}  # a copy, to which closed folders are added
            places[folder.parent.name] = ("", folder.parent)
        for folder in self._closed:
            # listed among the files of its study, so that reading reports it there by name
            parts = folder.relative_to(self._images).parts
            if self._settled:
                series = found[parts[0]].setdefault(parts[min(1, len(parts) - 1)], {})
                series.setdefault(folder.parent, []).append(folder.name)
            else:
                warn("%s cannot be listed, its contents are not read", folder)
        by_study: dict[str, FoundFiles] = defaultdict(dict)  # with an empty id where headers tell the study
        for folder, of_folder in self._by_header.items():
            parts = folder.relative_to(self._images).parts
            by_study[parts[0] if self._competition and parts else ""][folder] = of_folder
        by_header = group_by_header(by_study.pop("", {}), self._images, warn=warn)
        by_folder = [(name, Group("", self._images / name, series_of(name, files))) for name, files in by_study.items()]
        for study_id, group in [*by_header.items(), *by_folder]:
            places.setdefault(study_id, (group.uid, group.home))
            for series_id, of_series in group.series.items():
                found[study_id].setdefault(series_id, {}).update(of_series)
        return found, places

    def _on_unread(self, paths: list[Path], kind: str, remedy: str) -> list[str]:
        """A sentence on files that would have to be unpacked, none where there are none."""
        if not paths:
            return []
        names = [path.relative_to(self._data).as_posix() for path in paths[:MOST_NAMED]]
        more = f" and {len(paths) - len(names)} more" if len(paths) > len(names) else ""
        return [f"{kind} inside the data folder are not read: {', '.join(names)}{more}; {remedy}"]

    def _named(self) -> list[str]:
        """The studies that tables name, and in the competition's layout every folder of images."""
        return [*self._roles, *self.sample, *(subfolders(self._images) if self._competition else ())]

    def _look_at(self, folder: Path, names: list[str]) -> None:
        """Read the identities of some files; those that are no DICOM by name nor content are passed over."""
        for name in names:
            is_dicom, identity = identify(os.path.join(folder, name))  # noqa: PTH118 - no path object for each file
            if is_dicom or has_dicom_suffix(name):
                self._by_header.setdefault(folder, {}).setdefault(identity, []).append(name)

    def _study(self, study_id: str, series: dict[str, FilesByFolder], place: tuple[str, Path] | None) -> StudyFiles:
        uid, home = place or ("", None)
        return StudyFiles(
            study_id,
            tuple(
                SeriesFiles(name, role_of(self._roles, study_id, name), _paths(series[name]))
                for name in natural(series)
            ),
            study_uid=uid,
            folder="" if home is None else home.relative_to(self._data).as_posix(),
        )


def _paths(files: FilesByFolder) -> tuple[Path, ...]:
    """The files in natural order, folder by folder."""
    folders = sorted(files, key=lambda folder: natural_key(str(folder)))
    return tuple(Path(folder, name) for folder in folders for name in natural(files[folder]))
