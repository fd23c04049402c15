"""The original images of a study as evidence: their headers, completed where anonymisation has removed attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from highdicom import PatientSexValues
from pydicom.uid import MRImageStorage
from pydicom.valuerep import DA, TM

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.dicom.headers import SliceHeader
from lumbar_kernel.dicom.safe_open import open_header, reading, refusal
from lumbar_kernel.dicom.stacks import stacks_of
from lumbar_kernel.errors import DicomError
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.study import StudyFiles

EMPTY_ALLOWED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
"""Attributes that DICOM wants in every object, if need be without a value."""

CHECKED = {"PatientBirthDate": DA, "PatientSex": PatientSexValues, "StudyDate": DA, "StudyTime": TM}
"""Those of them in which highdicom refuses an impossible value, and what tells."""

NEEDED = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
COPIED = ("SOPClassUID", "SpecificCharacterSet", "FrameOfReferenceUID", "Rows", "Columns", "NumberOfFrames", "Modality")

UNICODE = "ISO_IR 192"


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One slice of an original file.

    Attributes:
        dataset: header of its file, with what a reference to it needs.
        role: of its series.
        plane: its position.
    """

    dataset: Any
    role: str
    plane: SlicePlane


def read_sources(files: StudyFiles, roles: Mapping[str, str]) -> tuple[list[SourceImage], list[str]]:
    """The slices of the series that a run used, and a sentence for each file that cannot be referred to.

    Args:
        files: of the study.
        roles: of the series used, by the ids that the run gave to them: what its reader divided is divided here too.
    """
    images: list[SourceImage] = []
    problems: list[str] = []
    used = [replace(item, role=roles.get(item.series_id, item.role)) for item in files.series]
    for stack in stacks_of(used).stacks:
        if (role := roles.get(stack.series_id)) is None:
            continue
        for path, headers in _by_file(stack.headers).items():
            try:
                dataset = _evidence(path)
            except DicomError as error:
                problems.append(str(error))
                continue
            images += [SourceImage(dataset, role, header.plane) for header in headers]
    return images, problems


def _by_file(headers: Sequence[SliceHeader]) -> dict[Path, list[SliceHeader]]:
    by_file: dict[Path, list[SliceHeader]] = {}
    for header in headers:
        by_file.setdefault(header.path, []).append(header)
    return by_file


def _evidence(path: Path) -> Any:
    """The header of a file with what a reference to it needs; raises DicomError where that is not there."""
    with reading(path, "the header cannot be read"):
        dataset, _ = open_header(path, keywords=(*NEEDED, *COPIED, *EMPTY_ALLOWED))
        _complete(dataset)
        absent = [keyword for keyword in NEEDED if not dataset.get(keyword)]
    if absent:
        raise refusal(path, f"{' and '.join(absent)} missing, so that nothing can refer to it")
    return dataset


def _complete(dataset: Any) -> None:
    """Add what a reference needs: the class from the file meta, and empty values for absent and impossible ones."""
    if not dataset.get("SOPClassUID"):
        dataset.SOPClassUID = dataset.file_meta.get("MediaStorageSOPClassUID", MRImageStorage)
    for keyword in EMPTY_ALLOWED:
        if not _is_possible(keyword, dataset.get(keyword)):
            setattr(dataset, keyword, "")
    dataset.SpecificCharacterSet = UNICODE  # of the texts decoded above; highdicom refuses what some files name


def _is_possible(keyword: str, value: Any) -> bool:
    """Whether an attribute has a value that may stand in a report."""
    try:
        CHECKED.get(keyword, str)(value)
    except (ValueError, TypeError):
        return False
    return bool(value)


def nearest_image(images: Sequence[SourceImage], point: FloatArray, roles: Sequence[str]) -> SourceImage | None:
    """The slice that passes nearest to a point, of the first of some roles that there is; None without any."""
    for role in roles:
        if of_role := [image for image in images if image.role == role]:
            return min(of_role, key=lambda image: abs(float(image.plane.distance(point))))
    return None
