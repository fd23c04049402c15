"""The original images of a study as evidence: their headers, completed where anonymisation has removed attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.uid import MRImageStorage

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.dicom.headers import read_headers
from lumbar_kernel.dicom.safe_open import open_header, reading, refusal
from lumbar_kernel.errors import DicomError
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.study import StudyFiles

EMPTY_ALLOWED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
"""Attributes that DICOM wants in every object, if need be without a value."""

NEEDED = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
COPIED = ("SOPClassUID", "SpecificCharacterSet", "FrameOfReferenceUID", "Rows", "Columns", "NumberOfFrames", "Modality")


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
    """The slices of the series that a run used, and a sentence for each file that cannot be referred to."""
    images: list[SourceImage] = []
    problems: list[str] = []
    for series in files.series:
        for path in series.paths if series.series_id in roles else ():
            try:
                headers = read_headers(path)
                with reading(path, "the header cannot be read"):
                    dataset, _ = open_header(path, tags=(*NEEDED, *COPIED, *EMPTY_ALLOWED))
                    _complete(dataset)
                if absent := [keyword for keyword in NEEDED if not dataset.get(keyword)]:
                    raise refusal(path, f"{' and '.join(absent)} missing, so that nothing can refer to it")
            except DicomError as error:
                problems.append(str(error))
                continue
            images += [SourceImage(dataset, roles[series.series_id], header.plane) for header in headers]
    return images, problems


def _complete(dataset: Any) -> None:
    """Add what a reference needs: the class from the file meta, and empty values where attributes are absent."""
    if not dataset.get("SOPClassUID"):
        dataset.SOPClassUID = dataset.file_meta.get("MediaStorageSOPClassUID", MRImageStorage)
    for keyword in EMPTY_ALLOWED:
        if keyword not in dataset:
            setattr(dataset, keyword, "")


def nearest_image(images: Sequence[SourceImage], point: FloatArray, roles: Sequence[str]) -> SourceImage | None:
    """The slice that passes nearest to a point, of the first of some roles that there is; None without any."""
    for role in roles:
        if of_role := [image for image in images if image.role == role]:
            return min(of_role, key=lambda image: abs(float(image.plane.distance(point))))
    return None
