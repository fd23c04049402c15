"""Studies written as hospitals' scanners and archives write them: names, ImageType, sequence and timing by vendor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from benchmarks.robustness.dicom_files import dataset_of, save
from lumbar_kernel.arrays import Float32Array
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import Study

T1, T2, AXIAL = "t1", "t2", "axial"
FOLDERS = {SAGITTAL_T1: T1, SAGITTAL_T2: T2, AXIAL_T2: AXIAL}

Tags = dict[str, Any]
Look = Callable[[Float32Array], Any]
"""Changes the pixels of a slice, as another contrast would."""

ORIGINAL = ["ORIGINAL", "PRIMARY"]
TIMING: dict[str, Tags] = {
    T1: {"RepetitionTime": 600, "EchoTime": 10, "ScanningSequence": "SE"},
    T2: {"RepetitionTime": 3500, "EchoTime": 100, "ScanningSequence": "SE"},
    AXIAL: {"RepetitionTime": 4200, "EchoTime": 105, "ScanningSequence": "SE"},
}


@dataclass(frozen=True)
class Vendor:
    """How a scanner or the users of a country name the three series.

    Attributes:
        names: SeriesDescription of T1, T2 and axial T2.
        image_type: the values after ORIGINAL and PRIMARY.
        tags: further elements of every file.
        sequences: SequenceName of T1, T2 and axial T2.
    """

    names: tuple[str, str, str]
    image_type: tuple[str, ...] = ("M",)
    tags: Mapping[str, Any] = field(default_factory=dict)
    sequences: tuple[str, str, str] = ("", "", "")


VENDORS = {
    "siemens": Vendor(
        ("t1_tse_sag_320", "t2_tse_sag_384", "t2_tse_tra_msma"),
        ("M", "NORM", "DIS2D"),
        {"Manufacturer": "SIEMENS", "BodyPartExamined": "LSPINE"},
        ("*tse2d1_3", "*tse2d1_17", "*tse2d1_15"),
    ),
    "ge": Vendor(
        ("Sag T1 FSE", "Sag T2 FRFSE", "Ax T2 FSE angled"),
        ("OTHER",),
        {
            "Manufacturer": "GE MEDICAL SYSTEMS",
            "ScanOptions": ["FAST_GEMS", "NPW", "TRF_GEMS"],
            "BodyPartExamined": "SPINE",
        },
    ),
    "philips": Vendor(
        ("T1W_TSE SENSE", "T2W_TSE SENSE", "T2W_TSE_ax CLEAR"),
        ("M_SE", "M", "SE"),
        {"Manufacturer": "Philips Medical Systems", "PulseSequenceName": "TSE"},
    ),
    "canon": Vendor(("T1W SAG", "T2W SAG", "T2W AXI"), (), {"Manufacturer": "TOSHIBA"}, ("FSE2D",) * 3),
    "hitachi": Vendor(("SAG T1 FSE", "SAG T2 FSE", "TRS T2 FSE"), (), {"Manufacturer": "Hitachi"}),
    "united imaging": Vendor(("t1_fse_sag", "t2_fse_sag", "t2_fse_tra"), ("M",), {"Manufacturer": "UIH"}),
    "german": Vendor(("T1 sagittal LWS nativ", "T2 sagittal LWS", "T2 axial Block L3-S1")),
    "french": Vendor(("Sag T1 rachis lombaire", "Sag T2 FSE", "Ax T2 disques")),
    "spanish": Vendor(("SAG T1 COLUMNA LUMBAR", "SAG T2", "AX T2 L3-L4-L5-S1")),
    "timing alone": Vendor(("", "", "")),
}


@dataclass(frozen=True, eq=False)
class Image:
    """One slice and the elements that its file has besides those of its plane and pixels."""

    plane: SlicePlane
    pixels: NDArray[np.uint16]
    tags: Tags

    def with_tags(self, **tags: Any) -> Image:
        """The slice with other elements; None removes one."""
        return replace(self, tags=self.tags | tags)

    def with_pixels(self, change: Look) -> Image:
        """The slice with changed pixels."""
        return replace(self, pixels=_stored(change(self.pixels.astype(np.float32))))


def _stored(pixels: Float32Array) -> NDArray[np.uint16]:
    return np.clip(pixels, 0, 65535).astype(np.uint16)


Exam = dict[str, list[Image]]
"""Folder of each series → its slices."""


def exam_of(study: Study, vendor: Vendor, *, number: int = 1) -> Exam:
    """A study as a scanner of a vendor would write it; series of one role count on."""
    exam: Exam = {}
    for count, series in enumerate(study.series, start=1):
        role = FOLDERS[series.role]
        kind = (T1, T2, AXIAL).index(role)
        folder = role if role not in exam else f"{role}{count}"
        tags = {
            **TIMING[role],
            **vendor.tags,
            "PatientID": f"P{number}",
            "PatientBirthDate": f"19{50 + number}0101",
            "PatientSex": "F",
            "StudyInstanceUID": f"1.2.826.{number}",
            "SeriesInstanceUID": f"1.2.826.{number}.{count}",
            "SeriesNumber": count,
            "SeriesDescription": vendor.names[kind] or None,
            "SequenceName": vendor.sequences[kind] or None,
            "ImageType": [*ORIGINAL, *vendor.image_type],
            "AcquisitionDate": "20240301",
            "AcquisitionTime": f"10{count:02d}00",
        }
        exam[folder] = [
            Image(
                item.plane,
                _stored(np.rint(item.pixels)),
                tags | {"InstanceNumber": index, "SOPInstanceUID": f"1.2.826.{number}.{count}.{index}"},
            )
            for index, item in enumerate(series.slices, start=1)
        ]
    return exam


def dataset(image: Image) -> FileDataset:
    """The data set of a slice, uncompressed."""
    plane = image.plane
    place = {
        "ImagePositionPatient": [f"{x:.6f}" for x in plane.origin],
        "ImageOrientationPatient": [f"{x:.9f}" for x in (*plane.row_direction, *plane.column_direction)],
        "PixelSpacing": [f"{plane.row_spacing:.9f}", f"{plane.column_spacing:.9f}"],
    }
    return dataset_of(image.pixels, **(place | image.tags))


def write_exam(exam: Exam, folder: Path) -> None:
    """Write an exam as `folder/<series>/<number>.dcm`."""
    for series, images in exam.items():
        for index, image in enumerate(images, start=1):
            save(dataset(image), folder / series / f"{index}.dcm")
