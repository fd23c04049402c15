"""Archive variants that change how the files of a study are encoded, numbered, named and laid out."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from benchmarks.robustness.dicom_files import item
from benchmarks.robustness.hospital import AXIAL, T1, T2
from benchmarks.robustness.slice_changes import no_series_uid, one_series_uid, one_uid_a_file

Rewrite = Callable[[Path], Path]
"""Changes the files in a folder and returns what to give to the kernel."""


def files(change: Callable[[Dataset], object], *, some: str = "**/*.dcm") -> Rewrite:
    """Changes every file, or those of a pattern."""

    def rewrite(folder: Path) -> Path:
        for path in sorted(folder.glob(some)):
            data = pydicom.dcmread(path)
            change(data)
            data.save_as(path)
        return folder

    return rewrite


def _signed(data: Dataset) -> None:
    values = data.pixel_array.astype(np.int32) - 1000
    data.PixelData, data.PixelRepresentation = values.astype("<i2").tobytes(), 1


def _monochrome1(data: Dataset) -> None:
    data.PhotometricInterpretation = "MONOCHROME1"
    data.PixelData = (65535 - data.pixel_array).astype("<u2").tobytes()


def _air_above_zero(data: Dataset) -> None:
    data.PixelData = (data.pixel_array.astype(np.uint32) + 300).clip(0, 65535).astype("<u2").tobytes()


def _long_header(data: Dataset) -> None:
    block = data.private_block(0x0009, "LUMBAR TEST", create=True)
    block.add_new(0x01, "OB", bytes(3 << 20))


def _unknown_syntax(data: Dataset) -> None:
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG-2
    data.PixelData = pydicom.encaps.encapsulate([b"\x00\x00\x01\xb3" + bytes(400)])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True


def encoded(syntax: str) -> Rewrite:
    """Every file in another uncompressed transfer syntax."""

    def rewrite(folder: Path) -> Path:
        for path in sorted(folder.rglob("*.dcm")):
            data = pydicom.dcmread(path)
            little = syntax != ExplicitVRBigEndian
            if not little:
                data.PixelData = data.pixel_array.astype(">u2").tobytes()
            data.file_meta.TransferSyntaxUID = syntax
            pydicom.dcmwrite(
                path, data, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=little, enforce_file_format=True
            )
        return folder

    return rewrite


def _without_meta(folder: Path) -> Path:
    """Files as old archives hold them: no preamble, no file meta information."""
    for path in sorted(folder.rglob("*.dcm")):
        data = pydicom.dcmread(path)
        with path.open("wb") as file:
            buffer = pydicom.filebase.DicomFileLike(file)
            buffer.is_little_endian, buffer.is_implicit_VR = True, False
            pydicom.filewriter.write_dataset(buffer, data)
    return folder


def _flat(folder: Path) -> Path:
    """All files in one folder, without suffix, in an order that mixes the series."""
    target = folder.with_name(f"{folder.name}_flat")
    target.mkdir()
    for index, path in enumerate(sorted(folder.rglob("*.dcm"), key=lambda path: (path.name, str(path)))):
        shutil.copy(path, target / f"IM{index:05d}")
    return target


def _one_folder_a_file(folder: Path) -> Path:
    target = folder.with_name(f"{folder.name}_deep")
    for index, path in enumerate(sorted(folder.rglob("*.dcm"))):
        (target / f"D{index:04d}").mkdir(parents=True)
        shutil.copy(path, target / f"D{index:04d}" / "I.dcm")
    return target


def _renamed_series(folder: Path) -> Path:
    """Folders of series in the opposite order."""
    names = sorted(path.name for path in folder.iterdir())
    for name in names:
        (folder / name).rename(folder / f"_{name}")
    for name, new in zip(names, reversed(names), strict=True):
        (folder / f"_{name}").rename(folder / f"s{new}")
    return folder


def _every_file_twice(folder: Path) -> Path:
    for path in sorted(folder.rglob("*.dcm")):
        shutil.copy(path, path.with_name(f"copy_of_{path.name}"))
    return folder


def _interrupted_copy(folder: Path) -> Path:
    """Beside every series an interrupted copy of it, which sorts before it."""
    for series in sorted(folder.iterdir()):
        copy = folder / f"0_{series.name}"
        shutil.copytree(series, copy)
        for path in copy.iterdir():
            path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return folder


def _truncated(folder: Path) -> Path:
    for path in sorted((folder / T2).iterdir())[::2]:
        path.write_bytes(path.read_bytes()[:2000])
    return folder


def _zipped(folder: Path) -> Path:
    target = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*.dcm")):
            archive.write(path, Path("export") / path.relative_to(folder))
    return target


def _tarred(folder: Path) -> Path:
    target = folder.with_name(f"{folder.name}.tar.gz")
    with tarfile.open(target, "w:gz") as archive:
        archive.add(folder, "export")
    return target


def _zip_inside(folder: Path) -> Path:
    """A folder in which one series lies in a zip."""
    with zipfile.ZipFile(folder / "t1.zip", "w") as archive:
        for path in sorted((folder / T1).iterdir()):
            archive.write(path, path.name)
    shutil.rmtree(folder / T1)
    return folder


def _dicomdir(folder: Path) -> Path:
    """A medium with a DICOMDIR and the file names of the standard."""
    from pydicom.fileset import FileSet

    medium = FileSet()
    for path in sorted(folder.rglob("*.dcm")):
        data = pydicom.dcmread(path)
        data.StudyDate, data.StudyTime, data.StudyID, data.PatientName = "20240301", "100000", "1", "A"
        data.AccessionNumber, data.StudyDescription = "1", "LWS"
        medium.add(data)
    target = folder.with_name(f"{folder.name}_medium")
    medium.write(target)
    medium._stage["t"].cleanup()  # else the interpreter warns of a temporary folder left open
    return target / "DICOMDIR"


def _multi_frame(folder: Path) -> Path:
    """Each series as one enhanced file."""
    target = folder.with_name(f"{folder.name}_enhanced")
    for series in sorted(folder.iterdir()):
        data = [pydicom.dcmread(path) for path in sorted(series.iterdir())]
        whole = data[0]
        whole.PerFrameFunctionalGroupsSequence = [
            item(
                PlanePositionSequence=[item(ImagePositionPatient=each.ImagePositionPatient)],
                PlaneOrientationSequence=[item(ImageOrientationPatient=each.ImageOrientationPatient)],
                PixelMeasuresSequence=[item(PixelSpacing=each.PixelSpacing)],
            )
            for each in data
        ]
        whole.NumberOfFrames = len(data)
        whole.PixelData = b"".join(each.PixelData for each in data)
        whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
        (target / series.name).mkdir(parents=True)
        whole.save_as(target / series.name / "1.dcm")
    return target


def _no_image(folder: Path) -> Path:
    (folder / "note.txt").write_text("no image")
    (folder / "report.dcm").write_bytes(b"not a DICOM file")
    return folder


ENCODED: dict[str, Rewrite] = {
    "RLE": files(lambda data: data.compress(RLELossless)),
    "deflated": encoded(DeflatedExplicitVRLittleEndian),
    "big-endian": encoded(ExplicitVRBigEndian),
    "implicit VR": encoded(ImplicitVRLittleEndian),
    "explicit VR rewritten": encoded(ExplicitVRLittleEndian),
    "no preamble, no file meta": _without_meta,
    "signed pixels": files(_signed),
    "MONOCHROME1": files(_monochrome1),
    "RescaleIntercept -200": files(lambda data: data.update({"RescaleIntercept": -200, "RescaleSlope": 1})),
    "RescaleIntercept 1000, RescaleSlope 2.5": files(
        lambda data: data.update({"RescaleIntercept": 1000, "RescaleSlope": 2.5})
    ),
    "air above zero": files(_air_above_zero),
    "headers of 3 MiB": files(_long_header),
    "enhanced multi-frame": _multi_frame,
    "every file twice": _every_file_twice,
    "interrupted copies": _interrupted_copy,
    "folders of series renamed": _renamed_series,
    "flat folder without suffixes": _flat,
    "a folder for every file": _one_folder_a_file,
    "other files between": _no_image,
    "zip": _zipped,
    "tar.gz": _tarred,
    "DICOMDIR": _dicomdir,
}
"""Name → change of the files; nothing is lost."""

MIXED_UIDS = {
    "one series UID, in folders": (one_series_uid, None),
    "one series UID, flat": (one_series_uid, _flat),
    "no series UID, flat": (no_series_uid, _flat),
    "one series UID a file": (one_uid_a_file, None),
}

LOSSY: dict[str, Rewrite] = {
    "half of T2 truncated": _truncated,
    "axial in a syntax without decoder": files(_unknown_syntax, some=f"{AXIAL}/*.dcm"),
    "T1 without positions": files(lambda data: data.pop("ImagePositionPatient"), some=f"{T1}/*.dcm"),
    "T1 is CT": files(lambda data: data.update({"Modality": "CT"}), some=f"{T1}/*.dcm"),
    "T1 in a zip inside": _zip_inside,
}
"""Name → change that loses something, which the report or the log must name."""
