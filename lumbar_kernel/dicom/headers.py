"""One DICOM file → slice headers with their place in the patient, and later its pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.uid import UID, MediaStorageDirectoryStorage, MRSpectroscopyStorage

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.dicom.elements import frame_count, number, text, transfer_syntax, upper_values
from lumbar_kernel.dicom.ordinary import ordinary_header
from lumbar_kernel.dicom.safe_open import open_header, read_each, reading, refusal
from lumbar_kernel.errors import DicomError
from lumbar_kernel.geometry import SlicePlane

FRAME_LIMIT = 1 << 24
"""Largest rows × columns of a frame (4096 × 4096); the challenge stays below 1200 × 1200."""

FILE_LIMIT = 1 << 27
"""Largest rows × columns × frames of a file: 512 frames of 512 × 512, half a gigabyte once in float32."""

MAX_SIDE_MM = 3000.0
"""Longest side of a slice; a whole body fits. Larger slices would need sampling grids of unlimited size."""

MIN_SPACING_MM = 0.01

FARTHEST_MM = 10_000.0
"""Largest distance of a slice from the isocentre; no scanner's table moves as far."""

FAILURE = "the header cannot be read"

UNIT_TOLERANCE = 0.01
"""Tolerance of direction cosines in length and angle; some writers round them to three digits."""

HEADER_KEYWORDS = [
    "SOPClassUID", "SeriesInstanceUID", "SeriesDescription", "ProtocolName", "StudyDescription", "Modality",
    "ImageType", "DiffusionBValue", "BodyPartExamined", "SequenceName", "PulseSequenceName", "ScanOptions",
    "SpectrallySelectedSuppression", "ContrastBolusAgent", "ContrastBolusAgentSequence", "SeriesNumber",
    "AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime", "SeriesDate", "SeriesTime", "ContentDate",
    "ContentTime",
    "InstanceNumber", "EchoTime", "RepetitionTime", "InversionTime", "ScanningSequence", "EchoPulseSequence",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "NumberOfFrames", "Rows", "Columns",
    "SamplesPerPixel", "PhotometricInterpretation", "DirectoryRecordSequence",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
"""Elements that are read of every file."""


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """The header of one slice, without its pixels.

    Attributes:
        path: the file.
        frame: index of the frame in a multi-frame file, None in a classic one.
        series_uid: SeriesInstanceUID, empty when absent.
        series_description: SeriesDescription, else ProtocolName, else empty.
        plane: position of the slice, with its matrix.
        instance_number: InstanceNumber (frame number in a multi-frame file), else the number that ends the file name.
        echo_time: ms.
        repetition_time: ms.
        inversion_time: ms.
        scanning_sequence: codes as the file has them, such as `SE` or `GR`, empty when absent.
        transfer_syntax: encoding of the pixels, empty when absent.
        image_type: values of ImageType (FrameType of a frame) in upper case, empty when absent.
        diffusion_b_value: s/mm², None when absent.
        sequence_name: SequenceName, else PulseSequenceName, in upper case, else empty.
        scan_options: values of ScanOptions in upper case, with FS where SpectrallySelectedSuppression names fat.
        contrast_agent: ContrastBolusAgent, else the first of ContrastBolusAgentSequence, empty when absent.
        body_part: BodyPartExamined in upper case, empty when absent.
        acquired: date and time of acquisition, else of the series, as sortable digits; empty when absent.
        series_number: SeriesNumber, None when absent.
        protocol_name: ProtocolName, empty when absent.
        study_description: StudyDescription, empty when absent.
    """

    path: Path
    frame: int | None
    series_uid: str
    series_description: str
    plane: SlicePlane
    instance_number: int | None
    echo_time: float | None
    repetition_time: float | None
    inversion_time: float | None
    scanning_sequence: str
    transfer_syntax: UID
    image_type: tuple[str, ...] = ()
    diffusion_b_value: float | None = None
    sequence_name: str = ""
    scan_options: tuple[str, ...] = ()
    contrast_agent: str = ""
    body_part: str = ""
    acquired: str = ""
    series_number: int | None = None
    protocol_name: str = ""
    study_description: str = ""


def try_headers(path: Path) -> list[SliceHeader | DicomError]:
    """The headers of all slices in a file: one of a classic file, one per frame of an enhanced one.

    In the place of a frame that is no MR image with a position in the patient is the reason.

    Raises:
        DicomError: no slice is one; the message gives the reason.
    """
    if header := _ordinary(path):
        return [header]
    with reading(path, FAILURE):
        dataset, has_pixels = open_header(path, keywords=HEADER_KEYWORDS)
        _check_kind(dataset, path, has_pixels=has_pixels)
        _check_matrix(dataset, path)
        groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
        shared = dataset.get("SharedFunctionalGroupsSequence") or []
        count = frame_count(dataset)
        if not groups and not shared:
            if count > 1:
                raise refusal(path, f"its {count} frames have no positions of their own")
            return [_header(dataset, path, None, ())]
        if len(groups) < count and count > 1:
            raise refusal(path, f"it has {count} frames but functional groups for {len(groups)}")
        frames = [
            partial(_header, dataset, path, frame, (*groups[frame : frame + 1], *shared[:1])) for frame in range(count)
        ]
    return read_each(path, FAILURE, enumerate(frames))


def _ordinary(path: Path) -> SliceHeader | None:
    """The header of an ordinary file, None for any other and for one that will be refused."""
    dataset = ordinary_header(path, HEADER_KEYWORDS)
    if dataset is None:
        return None
    try:
        with reading(path, FAILURE):
            if frame_count(dataset) != 1:
                return None
            _check_kind(dataset, path, has_pixels=True)
            _check_matrix(dataset, path)
            return _header(dataset, path, None, ())
    except DicomError:
        return None  # pydicom decides, and its words are shown


def _check_kind(dataset: Any, path: Path, *, has_pixels: bool) -> None:
    kinds = {str(dataset.get("SOPClassUID", "")), str(dataset.file_meta.get("MediaStorageSOPClassUID", ""))}
    modality = text(dataset, "Modality")
    if MediaStorageDirectoryStorage in kinds or "DirectoryRecordSequence" in dataset:
        raise refusal(path, "a DICOMDIR index, not an image")
    if MRSpectroscopyStorage in kinds:
        raise refusal(path, "MR spectroscopy, not an image")
    if modality not in ("", "MR"):
        raise refusal(path, f"Modality is {modality!r}, only MR is read")
    if not has_pixels:
        raise refusal(path, "no pixel data")


def _check_matrix(dataset: Any, path: Path) -> None:
    rows, columns, frames = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0), frame_count(dataset)
    if frames < 1:
        raise refusal(path, f"NumberOfFrames is {frames}, it must be at least 1")
    if rows < 1 or columns < 1:
        raise refusal(path, f"the matrix is {rows} × {columns}, both must be at least 1")
    if rows * columns > FRAME_LIMIT or rows * columns * frames > FILE_LIMIT:
        size = f"{rows} × {columns} × {frames}"
        raise refusal(path, f"{size} pixels are over the limit of {FRAME_LIMIT} a frame and {FILE_LIMIT} a file")
    samples, photometric = int(dataset.get("SamplesPerPixel") or 1), text(dataset, "PhotometricInterpretation")
    if samples != 1 or photometric not in ("", "MONOCHROME1", "MONOCHROME2"):
        raise refusal(path, f"a colour image ({photometric}, {samples} samples per pixel), only grey ones are read")


def _header(dataset: Any, path: Path, frame: int | None, groups: Sequence[Any]) -> SliceHeader:
    """The header of one frame; `groups` are its functional groups, its own before the shared ones."""

    def find(sequence: str, keyword: str) -> Any:
        found = [group[sequence][0].get(keyword) for group in groups if group.get(sequence)]
        return next((value for value in [*found, dataset.get(keyword)] if value not in (None, "")), None)

    suppression = str(find("MRModifierSequence", "SpectrallySelectedSuppression") or "").upper()
    series_number = number(dataset.get("SeriesNumber"))
    return SliceHeader(
        path=path,
        frame=frame,
        series_uid=text(dataset, "SeriesInstanceUID"),
        series_description=text(dataset, "SeriesDescription") or text(dataset, "ProtocolName"),
        plane=_plane(
            path,
            position=find("PlanePositionSequence", "ImagePositionPatient"),
            orientation=find("PlaneOrientationSequence", "ImageOrientationPatient"),
            spacing=find("PixelMeasuresSequence", "PixelSpacing"),
            shape=(int(dataset.Rows), int(dataset.Columns)),
        ),
        instance_number=_instance_number(dataset, path, frame),
        echo_time=number(find("MREchoSequence", "EffectiveEchoTime") or dataset.get("EchoTime")),
        repetition_time=number(find("MRTimingAndRelatedParametersSequence", "RepetitionTime")),
        inversion_time=number(find("MRModifierSequence", "InversionTimes") or dataset.get("InversionTime")),
        scanning_sequence=text(dataset, "ScanningSequence") or text(dataset, "EchoPulseSequence"),
        transfer_syntax=transfer_syntax(dataset),
        image_type=upper_values(find("MRImageFrameTypeSequence", "FrameType"))
        or upper_values(dataset.get("ImageType")),
        diffusion_b_value=number(find("MRDiffusionSequence", "DiffusionBValue")),
        sequence_name=(text(dataset, "SequenceName") or text(dataset, "PulseSequenceName")).upper(),
        scan_options=upper_values(dataset.get("ScanOptions"))
        + (("FS",) if suppression not in ("", "NONE", "WATER") else ()),
        contrast_agent=text(dataset, "ContrastBolusAgent") or _coded(dataset.get("ContrastBolusAgentSequence")),
        body_part=text(dataset, "BodyPartExamined").upper(),
        acquired=_acquired(dataset),
        series_number=None if series_number is None else int(series_number),
        protocol_name=text(dataset, "ProtocolName"),
        study_description=text(dataset, "StudyDescription"),
    )


def _coded(sequence: Any) -> str:
    """The meaning of the first of some codes, empty where there is none."""
    return text(sequence[0], "CodeMeaning") if isinstance(sequence, pydicom.Sequence) and sequence else ""


def _acquired(dataset: Any) -> str:
    for kind in ("Acquisition", "Series", "Content"):
        if time := text(dataset, f"{kind}Time"):
            return f"{text(dataset, f'{kind}Date')} {time}"
        both = text(dataset, f"{kind}DateTime")  # enhanced files have AcquisitionDateTime alone
        if time := re.split(r"[+-]", both[8:])[0]:
            return f"{both[:8]} {time}"
    return ""


def _plane(path: Path, *, position: Any, orientation: Any, spacing: Any, shape: tuple[int, int]) -> SlicePlane:
    origin = _vector(path, "ImagePositionPatient", position, 3)
    directions = _vector(path, "ImageOrientationPatient", orientation, 6).reshape(2, 3)
    row_spacing, column_spacing = _vector(path, "PixelSpacing", spacing, 2).tolist()
    if np.abs(origin).max() > FARTHEST_MM:
        raise refusal(path, f"ImagePositionPatient is {position}, more than {FARTHEST_MM:g} mm away")
    least, height, width = min(row_spacing, column_spacing), row_spacing * shape[0], column_spacing * shape[1]
    if least < MIN_SPACING_MM or max(height, width) > MAX_SIDE_MM:
        size = f"PixelSpacing is {row_spacing:g} × {column_spacing:g} mm and the slice {height:g} × {width:g} mm"
        raise refusal(path, f"{size}, expected {MIN_SPACING_MM:g} at least and {MAX_SIDE_MM:g} at most")
    row, column = directions
    if np.abs(directions @ directions.T - np.eye(2)).max() > UNIT_TOLERANCE:
        raise refusal(path, f"ImageOrientationPatient {orientation} is not two unit vectors at a right angle")
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    return SlicePlane(origin, row, column / np.linalg.norm(column), row_spacing, column_spacing, shape)


def _vector(path: Path, keyword: str, value: Any, length: int) -> FloatArray:
    if value is None:
        raise refusal(path, f"no {keyword}, the slice has no position in the patient")
    vector = np.asarray(value, dtype=np.float64)
    if vector.shape != (length,) or not np.isfinite(vector).all():
        raise refusal(path, f"{keyword} is {value}, expected {length} finite numbers")
    return vector


def _instance_number(dataset: Any, path: Path, frame: int | None) -> int | None:
    if frame is not None and frame_count(dataset) > 1:
        return frame + 1
    tag = number(dataset.get("InstanceNumber"))
    if tag is not None:
        return int(tag)
    digits = re.search(r"(\d+)\D*$", path.name)
    return int(digits[1]) if digits else None
