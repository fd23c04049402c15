"""How long the search for studies takes in a large archive, and when the first submission stands.

    python -m benchmarks.robustness.scan --files 144000

writes so many small files with headers as a hospital's archive exports them, in folders as media have them
(patient/study/series), scans them, scans a tenth of them, and runs `predict` under a budget beside a clock.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from pydicom.uid import generate_uid

from benchmarks.robustness.dicom_files import MR_IMAGE, SAGITTAL, dataset_of, item
from benchmarks.whole_runs import command
from lumbar_kernel.dicom.discovery import Scan

FILES_OF_A_SERIES, SERIES_OF_A_STUDY = 30, 6
TEXTS = 40
"""Text elements of a private block; with it a header has about a hundred elements in four kilobytes."""

POLL_SECONDS = 0.005


def main() -> None:
    """Write an archive, scan it, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=144_000, help="files of the large archive (default: 144000)")
    parser.add_argument("--seconds", type=float, default=10.0, help="budget of the run of predict (default: 10)")
    parser.add_argument("--folder", type=Path, help="where to write the archives, a temporary folder when left out")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        for files in (chosen.files // 10, chosen.files):
            data = Path(folder) / str(files)
            studies = write_archive(data, files=files)
            processor = time.process_time()
            first, last, found = scan_seconds(data)
            processor = time.process_time() - processor
            print(f"{files} files, {studies} studies: listed with {found} studies after {first:.2f} s,")
            rate = 1e6 * processor / files
            print(f"  scanned in {last:.2f} s, {processor:.2f} s of the processor, {rate:.0f} µs a file")
        print(f"predict --seconds {chosen.seconds:g}: " + ", ".join(growth(data, Path(folder), chosen.seconds)))


def write_archive(data: Path, *, files: int) -> int:
    """Write an archive of small files and return the number of its studies."""
    series_count = max(1, files // FILES_OF_A_SERIES)
    stored, marks = _template()
    for series in range(series_count):
        study = series // SERIES_OF_A_STUDY
        folder = data / f"PA{study:06d}" / "ST000000" / f"SE{series % SERIES_OF_A_STUDY:06d}"
        folder.mkdir(parents=True)
        for number in range(FILES_OF_A_SERIES):
            own = stored
            for mark, value in zip(marks, (study, study, series, number), strict=True):
                own = own.replace(mark, b"%0*d" % (len(mark), value))
            (folder / f"IM{number:06d}").write_bytes(own)
    return -(-series_count // SERIES_OF_A_STUDY)


def _template() -> tuple[bytes, list[bytes]]:
    """A stored file, and the digits in it that stand for patient, study, series and number of the file."""
    marks = [str(digit) * 9 for digit in (5, 6, 7, 8)]
    patient, study, series, number = marks
    root = "1.3.12.2.1107.5.2.30.25555.30000010.2024"
    dataset = dataset_of(
        np.zeros((4, 4), dtype=np.uint16),
        SpecificCharacterSet="ISO_IR 100",
        ImageType=["ORIGINAL", "PRIMARY", "M", "ND"],
        StudyDate="20240503",
        StudyTime="101500.000000",
        AccessionNumber="A12345678",
        Manufacturer="Vendor",
        StudyDescription="MR lumbar spine",
        SeriesDescription="t2_tse_sag",
        ManufacturerModelName="Scanner",
        PatientName="Anonymous^Patient",
        PatientID=patient,
        PatientBirthDate="19600101",
        PatientSex="F",
        PatientAge="064Y",
        StudyInstanceUID=f"{root}.{study}",
        SeriesInstanceUID=f"{root}.{series}",
        SOPInstanceUID=f"{root}.{number}",
        FrameOfReferenceUID=f"{root}.1",
        ScanningSequence="SE",
        RepetitionTime=3500,
        EchoTime=100,
        InstanceNumber=1,
        ImagePositionPatient=[-10.5, -120.25, 130.75],
        ImageOrientationPatient=list(SAGITTAL),
        SliceLocation=-10.5,
    )
    reference = item(ReferencedSOPClassUID=MR_IMAGE, ReferencedSOPInstanceUID=generate_uid())
    dataset.ReferencedImageSequence = [reference] * 3
    dataset["ReferencedImageSequence"].is_undefined_length = True
    block = dataset.private_block(0x0019, "SOME VENDOR HEADER", create=True)
    for offset in range(TEXTS):
        block.add_new(offset, "LO", "a private value of some length")
    stored = io.BytesIO()
    dataset.save_as(stored, enforce_file_format=True)
    return stored.getvalue(), [mark.encode() for mark in marks]


def scan_seconds(data: Path) -> tuple[float, float, int]:
    """Seconds until one header of each folder is read and until all are, and the studies known at the first."""
    began, first, known = time.perf_counter(), 0.0, 0
    scan = Scan(data)
    for _ in scan:
        if not first and scan.listed:
            first, known = time.perf_counter() - began, len(scan.known_studies())
    studies = scan.studies()
    if known != len(studies):
        print(f"  {len(studies)} studies in the end")
    return first, time.perf_counter() - began, known


def growth(data: Path, folder: Path, seconds: float) -> list[str]:
    """When each submission of a run of `predict` appeared, counted from the start of the process, and its rows."""
    out = folder / "out"
    began, seen = time.perf_counter(), 0
    states: list[tuple[float, int]] = []
    with subprocess.Popen(command(data, out, "--seconds", f"{seconds:g}"), stderr=subprocess.DEVNULL) as run:
        while run.poll() is None:
            file = out / "submission.csv"
            if file.is_file() and (status := file.stat()).st_ino != seen:
                if (size := file.read_bytes().count(b"\n") - 1) != (states[-1][1] if states else 0):
                    states.append((time.perf_counter() - began, size))
                seen = status.st_ino
            time.sleep(POLL_SECONDS)
    ended = time.perf_counter() - began
    return [*(f"{rows} rows after {at:.2f} s" for at, rows in states), f"ended after {ended:.2f} s ({run.returncode})"]


if __name__ == "__main__":
    main()
