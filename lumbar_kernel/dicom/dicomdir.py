"""The files that a DICOMDIR lists, whether the medium kept the case of their names or not."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from lumbar_kernel.dicom.element_walk import UNDEFINED
from lumbar_kernel.dicom.safe_open import open_whole, reading, refusal

IMAGE = "IMAGE"
"""DirectoryRecordType of the records that refer to images (DICOM PS3.3, F.5)."""

RECORDS = b"\x04\x00\x20\x12SQ\0\0"
"""The beginning of DirectoryRecordSequence, before its length."""


def indexed_files(path: Path) -> tuple[dict[Path, list[str]], list[str]]:
    """The images that a DICOMDIR refers to, as folder → names of files, and the listed names that do not exist.

    Raises:
        DicomError: the index cannot be read, breaks off or lists no image.
    """
    with reading(path, "the DICOMDIR cannot be read"):
        records = open_whole(path).get("DirectoryRecordSequence") or []
        listed = [record.get("ReferencedFileID") for record in records if record.get("DirectoryRecordType") == IMAGE]
        names = [(value,) if isinstance(value, str) else tuple(map(str, value)) for value in listed if value]
        if _breaks_off(path.read_bytes()):
            raise refusal(path, "the DICOMDIR breaks off; give the folder that it lies in")
    if not names:
        raise refusal(path, "it lists no images")
    files: dict[Path, list[str]] = defaultdict(list)
    missing: list[str] = []
    for parts in names:
        found = _existing(path.parent, parts)
        if found is None:
            missing.append("/".join(parts))
        else:
            files[found.parent].append(found.name)
    return files, missing


def _breaks_off(content: bytes) -> bool:
    """Whether the sequence of records ends before its length says so; without a length, pydicom sees it."""
    start = content.find(RECORDS)
    if start < 0:
        return False
    first = start + len(RECORDS) + 4
    length = int.from_bytes(content[first - 4 : first], "little")
    return length != UNDEFINED and first + length > len(content)


def _existing(root: Path, parts: tuple[str, ...]) -> Path | None:
    """The file of a record; names that would lead out of the medium's folder count as missing."""
    if any(part in ("", ".", "..") or "/" in part or "\\" in part for part in parts):
        return None
    spellings = (root.joinpath(*parts), root.joinpath(*(part.lower() for part in parts)))
    return next((path for path in spellings if os.path.isfile(path)), None)  # noqa: PTH113 - `is_file` may raise
