"""Files behind a URL: their identities from ranges of bytes, their headers and contents as temporary files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lumbar_kernel.archive.storage import Folder, stays_below
from lumbar_kernel.dicom.element_walk import HEAD_BYTES
from lumbar_kernel.dicom.folders import has_dicom_suffix
from lumbar_kernel.dicom.identity import FileIdentity, careful_identity, quick_identity
from lumbar_kernel.dicom.safe_open import HEADER_LIMIT, starts_like_dicom
from lumbar_kernel.runtime.temporary_folder import temporary_folder
from lumbar_kernel.study import StudyFiles

HEADER_BYTES = 1 << 18
"""First bytes of a file that hold the header of a classic image; of enhanced ones, whose headers may be longer, more is
fetched."""

ENHANCED = b"\x00\x52\x30\x92"
"""Tag of PerFrameFunctionalGroupsSequence, in little endian."""


def remote_identity(root: Folder, name: str) -> tuple[FileIdentity | None, int] | None:
    """The identity and size of a file, None for one that is no DICOM by name nor content."""
    path = f"{root.path}/{name}"
    try:
        size = int(root.system.size(path) or 0)
        for most in HEAD_BYTES:
            head = bytes(root.system.cat_file(path, start=0, end=min(most, size)))
            if not starts_like_dicom(head):
                return (None, size) if has_dicom_suffix(name) else None
            if identity := quick_identity(head):
                return identity, size
            if len(head) < most:
                break
    except OSError:
        return (None, 0) if has_dicom_suffix(name) else None
    with temporary_folder() as folder:
        local = folder / "file.dcm"
        local.write_bytes(_header(root.system, path))
        return careful_identity(local), size


@contextmanager
def local_files(root: Folder, studies: Iterable[StudyFiles], *, whole: bool) -> Iterator[tuple[StudyFiles, ...]]:
    """The studies with paths on this machine: as they are where they lie on disk, else fetched to a temporary folder.

    Args:
        root: folder that the paths of the studies are relative to.
        studies: with relative paths.
        whole: fetch the pixels too.
    """
    studies = tuple(studies)
    if (local := root.local) is not None:
        yield tuple(_with_paths(study, lambda path: local / path) for study in studies)
        return
    with temporary_folder() as folder:
        yield tuple(_with_paths(study, lambda path: _fetched(root, path, folder, whole=whole)) for study in studies)


def _fetched(root: Folder, path: Path, folder: Path, *, whole: bool) -> Path:
    """A file of the archive in a temporary folder, empty where it cannot be had: reading says so and goes on."""
    target, empty = folder / "files" / path, folder / "empty.dcm"
    empty.touch()
    if not stays_below(path):  # it would replace a file outside of the temporary folder
        return empty
    source = f"{root.path}/{path.as_posix()}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if whole:
            root.system.get_file(source, str(target))
        else:
            target.write_bytes(_header(root.system, source))
    except OSError:
        return empty
    return target


def _header(system: Any, path: str) -> bytes:
    head = bytes(system.cat_file(path, start=0, end=HEADER_BYTES))
    return bytes(system.cat_file(path, start=0, end=HEADER_LIMIT)) if ENHANCED in head else head


def _with_paths(study: StudyFiles, place: Callable[[Path], Path]) -> StudyFiles:
    series = (replace(item, paths=tuple(map(place, item.paths))) for item in study.series)
    return replace(study, series=tuple(series))
