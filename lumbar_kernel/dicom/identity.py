"""Whose file this is: the UIDs and the patient of one DICOM file, from its first bytes where these are ordinary."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydicom.multival import MultiValue

from lumbar_kernel.dicom.element_walk import CHARACTER_SET, CHARACTER_SETS, HEAD_BYTES, PLAIN, leading_elements
from lumbar_kernel.dicom.elements import text
from lumbar_kernel.dicom.safe_open import open_header, read_head, reading, starts_like_dicom
from lumbar_kernel.errors import DicomError

FRAMES, ORIENTATION = "NumberOfFrames", "ImageOrientationPatient"
TEXTS = {
    0x00100020: ("PatientID", b"LO"),
    0x00100030: ("PatientBirthDate", b"DA"),
    0x00100040: ("PatientSex", b"CS"),
    0x0020000D: ("StudyInstanceUID", b"UI"),
    0x0020000E: ("SeriesInstanceUID", b"UI"),
    0x00200037: (ORIENTATION, b"DS"),
    0x00200052: ("FrameOfReferenceUID", b"UI"),
    0x00280008: (FRAMES, b"IS"),
}
"""The text elements of an identity with their VRs."""

DIRECTORY_RECORDS, ROWS = 0x00041220, 0x00280010
WANTED = frozenset({*TEXTS, CHARACTER_SET, DIRECTORY_RECORDS, ROWS})
KEYWORDS = [*(keyword for keyword, _ in TEXTS.values()), "DirectoryRecordSequence", "Rows"]

NUMBERS = re.compile(rb"[0-9+.eE\\ -]*\0?")


@dataclass(frozen=True)
class FileIdentity:
    """What decides to which study a file belongs.

    Attributes:
        study_uid: StudyInstanceUID, empty when absent.
        series_uid: SeriesInstanceUID, empty when absent.
        patient: PatientID, PatientBirthDate and PatientSex, empty when all are absent.
        frame_of_reference: FrameOfReferenceUID, empty when absent.
        multi_frame: whether the file holds several frames.
        axis: "x", "y" or "z", the axis nearest to the normal of the slice, empty when unknown.
    """

    study_uid: str
    series_uid: str
    patient: tuple[str, ...] = ()
    frame_of_reference: str = ""
    multi_frame: bool = False
    axis: str = ""


def identify(path: str) -> tuple[bool, FileIdentity | None]:
    """Whether a file starts like DICOM, and its identity, None when it is not an image that can be read."""
    for size in HEAD_BYTES:
        try:
            head = read_head(path, size)
        except OSError:
            return False, None
        if not starts_like_dicom(head):
            return False, None
        if identity := quick_identity(head):
            return True, identity
        if len(head) < size:
            break
    return True, careful_identity(Path(path))


def quick_identity(head: bytes) -> FileIdentity | None:
    """The identity from the first bytes of an ordinary file; None where pydicom should look."""
    elements = leading_elements(head, WANTED, last=ROWS)
    if elements is None or DIRECTORY_RECORDS in elements:
        return None
    return _from_stored(elements.get(CHARACTER_SET), *map(elements.get, TEXTS))


@lru_cache(maxsize=4096)
def _from_stored(character_set: tuple[bytes, bytes] | None, *stored: tuple[bytes, bytes] | None) -> FileIdentity | None:
    """The identity from stored values in the order of `TEXTS`; the files of a series share theirs."""
    if character_set and not CHARACTER_SETS.fullmatch(character_set[1]):
        return None
    values = {}
    for (keyword, vr), found in zip(TEXTS.values(), stored, strict=True):
        if found and (
            found[0] not in (vr, b"") or not (NUMBERS if keyword == ORIENTATION else PLAIN).fullmatch(found[1])
        ):
            return None
        values[keyword] = found[1].rstrip(b"\0 ").decode("ascii").strip() if found else ""
    return _identity(values)


def careful_identity(path: Path) -> FileIdentity | None:
    """The identity as pydicom reads it, None when the file is not a DICOM image."""
    try:
        with reading(path, "the header cannot be read"):
            dataset, _ = open_header(path, keywords=KEYWORDS)
            if "DirectoryRecordSequence" in dataset or "Rows" not in dataset:
                return None
            return _identity({keyword: _stored_text(dataset, keyword) for keyword, _ in TEXTS.values()})
    except DicomError:
        return None


def _stored_text(dataset: Any, keyword: str) -> str:
    """A text element, or numbers as they are stored."""
    if keyword not in (FRAMES, ORIENTATION):
        return text(dataset, keyword)
    value = dataset.get(keyword)
    values = [] if value is None else list(value) if isinstance(value, MultiValue) else [value]
    return "\\".join(map(str, values)).strip()


def _identity(values: Mapping[str, str]) -> FileIdentity:
    frames = values[FRAMES]
    patient = (values["PatientID"], values["PatientBirthDate"], values["PatientSex"])
    return FileIdentity(
        values["StudyInstanceUID"],
        values["SeriesInstanceUID"],
        patient if any(patient) else (),
        values["FrameOfReferenceUID"],
        multi_frame=frames.isdecimal() and frames.lstrip("0") not in ("", "1"),
        axis=_axis(values[ORIENTATION]),
    )


def _axis(orientation: str) -> str:
    """The axis nearest to the normal of a slice, from the values of ImageOrientationPatient."""
    try:
        a, b, c, d, e, f = map(float, orientation.split("\\"))
    except ValueError:
        return ""
    normal = {"x": abs(b * f - c * e), "y": abs(c * d - a * f), "z": abs(a * e - b * d)}
    return max(normal, key=normal.__getitem__) if any(normal.values()) else ""
