"""Tiny MR files with chosen tags, written into a test's folder, and what is read of a whole file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from lumbar_kernel.dicom.headers import SliceHeader, try_headers
from lumbar_kernel.dicom.pixels import try_frames
from lumbar_kernel.errors import DicomError

SAGITTAL = (0, 1, 0, 0, 0, -1)
AXIAL = (1, 0, 0, 0, 1, 0)
CORONAL = (1, 0, 0, 0, 0, -1)
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


def tilted_axial(degrees: float) -> tuple[float, ...]:
    """Orientation of an axial slice turned about the left-right axis."""
    angle = np.radians(degrees)
    return (1, 0, 0, 0, float(np.cos(angle)), float(np.sin(angle)))


def dataset_of(pixels: NDArray[np.generic], **tags: object) -> FileDataset:
    """An uncompressed MR image; a tag of None removes the element."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = MR_IMAGE
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    bits = 8 * pixels.dtype.itemsize
    defaults = {
        "SOPClassUID": MR_IMAGE,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "MR",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "PixelSpacing": [1, 1],
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    }
    for name, value in (defaults | tags).items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def save(dataset: FileDataset, path: Path, *, rle: bool = False) -> Path:
    """Write a dataset as a proper DICOM file with either pydicom."""
    path.parent.mkdir(parents=True, exist_ok=True)
    old = int(pydicom.__version__.split(".")[0]) < 3
    if old:
        dataset.is_little_endian, dataset.is_implicit_VR = True, False
    if rle:
        dataset.compress(RLELossless)
    dataset.save_as(path, **({"write_like_original": False} if old else {"enforce_file_format": True}))
    return path


def write_slice(
    path: Path,
    pixels: NDArray[np.generic] | None = None,
    *,
    position: tuple[float, ...] | None = (0, 0, 0),
    orientation: tuple[float, ...] | None = AXIAL,
    rle: bool = False,
    **tags: object,
) -> Path:
    """Write one classic slice and return its path."""
    pixels = np.arange(48, dtype=np.uint16).reshape(6, 8) if pixels is None else pixels
    place = {
        "ImagePositionPatient": None if position is None else list(position),
        "ImageOrientationPatient": None if orientation is None else list(orientation),
    }
    return save(dataset_of(pixels, **place, **tags), path, rle=rle)


def write_stack(
    folder: Path,
    positions: list[tuple[float, ...]],
    *,
    orientation: tuple[float, ...] = SAGITTAL,
    **tags: Any,
) -> list[Path]:
    """Write one slice per position, instance numbers and file names counting from 1."""
    return [
        write_slice(folder / f"{i}.dcm", position=position, orientation=orientation, InstanceNumber=i, **tags)
        for i, position in enumerate(positions, start=1)
    ]


def write_enhanced(path: Path, frames: NDArray[np.uint16], *, positions: Iterable[tuple[float, ...]]) -> Path:
    """Write an enhanced multi-frame file: orientation and spacing shared, positions and rescale per frame."""
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=list(AXIAL))],
        PixelMeasuresSequence=[item(PixelSpacing=[2, 3])],
    )
    own = [
        item(
            PlanePositionSequence=[item(ImagePositionPatient=list(position))],
            PixelValueTransformationSequence=[item(RescaleSlope=frame, RescaleIntercept=10)],
        )
        for frame, position in enumerate(positions, start=1)
    ]
    groups = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": own}
    return save(dataset_of(frames, NumberOfFrames=len(frames), PixelSpacing=None, **groups), path)


def item(**tags: object) -> Dataset:
    """An item of a sequence, with these elements."""
    made = Dataset()
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def read_headers(path: Path) -> tuple[SliceHeader, ...]:
    """The headers of the slices of a file that have one; raises DicomError where none has."""
    return tuple(found for found in try_headers(path) if isinstance(found, SliceHeader))


def read_frames(headers: Sequence[SliceHeader]) -> list[NDArray[np.float32]]:
    """The pixels of slices of one file; raises DicomError where any of them cannot be read."""
    pixels = []
    for found in try_frames(headers):
        if isinstance(found, DicomError):
            raise found
        pixels.append(found)
    return pixels
