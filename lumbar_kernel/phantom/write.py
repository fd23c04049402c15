"""Write phantoms in the competition's layout: DICOM folders and tables, with the truth beside them."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, RLELossless
from tqdm import tqdm

from lumbar_kernel import schema
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.phantom.contrast import SequenceProtocol
from lumbar_kernel.phantom.make import PhantomStudy, make_phantom
from lumbar_kernel.phantom.rater_noise import read_truth
from lumbar_kernel.phantom.rle import rle_frame
from lumbar_kernel.processes import process_pool
from lumbar_kernel.study import Series, Slice

logger = logging.getLogger(__name__)

COMPETITION_SHARE = 0.35
"""Fraction of studies whose files have the competition's tags and compression; the others resemble a scanner's."""

MISSING = {schema.SAGITTAL_T1: (0.0, 0.004), schema.SAGITTAL_T2: (0.004, 0.006)}
"""Chance of a study without a series, as a range of one draw; commoner than in the challenge (3 of 1,975), so that a
few hundred studies hold one."""

MODERN_PYDICOM = int(pydicom.__version__.split(".")[0]) >= 3

COORDINATE_COLUMNS = ("study_id", "series_id", "instance_number", "condition", "level", "x", "y")

TRAIN_TARGETS = tuple(target for group in schema.GROUPS for target in schema.TARGETS if target.group == group)
TRAIN_COLUMNS = ("study_id", *(target.row for target in TRAIN_TARGETS))
"""Columns of the competition's train.csv, in order."""

Row = tuple[str | int | float, ...]


@dataclass(frozen=True)
class StudyRows:
    """What one study adds to the tables of a data set."""

    study_id: str
    series: tuple[Row, ...]
    grades: Row
    coordinates: tuple[Row, ...]


def _uid(*numbers: str) -> str:
    return ".".join(("2.25", *(str(int(number)) for number in numbers)))


def _geometry(ds: Dataset, series: Series, protocol: SequenceProtocol, item: Slice) -> None:
    """The elements that every file has: place, matrix, pixels; 12 or 16 bits."""
    plane = item.plane
    ds.PatientPosition, ds.InstanceNumber = "HFS", item.instance_number or 0
    ds.SliceThickness, ds.SpacingBetweenSlices = protocol.slice_thickness, protocol.spacing_between_slices
    ds.ImagePositionPatient = [f"{x:.6f}" for x in plane.origin]
    ds.ImageOrientationPatient = [f"{x:.9f}" for x in (*plane.row_direction, *plane.column_direction)]
    ds.SliceLocation = f"{float(plane.origin @ plane.normal):.5f}"
    ds.PixelSpacing = [f"{plane.row_spacing:.9f}", f"{plane.column_spacing:.9f}"]
    ds.Rows, ds.Columns = plane.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    stored = 12 if int(series.series_id) % 3 else 16
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, stored, stored - 1
    ds.PixelData = item.pixels.astype("<u2").tobytes()
    ds["PixelData"].VR = "OW"


def _scanner_file(phantom: PhantomStudy, series: Series, protocol: SequenceProtocol, item: Slice) -> Dataset:
    """One slice as a scanner names it, uncompressed; deterministic down to its UIDs."""
    study_id, ds = phantom.study.study_id, Dataset()
    _geometry(ds, series, protocol, item)
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, _uid(series.series_id, str(item.instance_number))
    ds.Modality, ds.PatientID = "MR", study_id
    ds.Manufacturer, ds.SeriesDescription = "lumbar_kernel phantom", protocol.description
    ds.StudyInstanceUID, ds.SeriesInstanceUID = _uid(study_id), _uid(series.series_id)
    ds.FrameOfReferenceUID, ds.MagneticFieldStrength = _uid(study_id, "1"), protocol.magnetic_field_strength
    ds.ScanningSequence = ["SE", "IR"] if protocol.inversion_time is not None else "SE"
    ds.SequenceVariant, ds.MRAcquisitionType = "SK", "3D" if protocol.volume else "2D"
    ds.RepetitionTime, ds.EchoTime = round(protocol.repetition_time, 1), round(protocol.echo_time, 1)
    if protocol.inversion_time is not None:
        ds.InversionTime = round(protocol.inversion_time, 1)
    _plain(ds, ds.SOPClassUID)
    return ds


def _competition_file(phantom: PhantomStudy, series: Series, protocol: SequenceProtocol, item: Slice) -> Dataset:
    """One slice with the 27 or 29 elements of the competition's files: RLE, Enhanced MR in its meta."""
    study_id, ds = phantom.study.study_id, Dataset()
    _geometry(ds, series, protocol, item)
    part = series.series_id.removeprefix(study_id)
    ds.SOPInstanceUID = f"{study_id}.{part}.{item.instance_number}"
    ds.ContentDate, ds.ContentTime, ds.SeriesDescription, ds.PatientID = "20240503", "223732.661374", "", study_id
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study_id, f"{study_id}.{series.series_id}"
    ds.FrameOfReferenceUID = _uid(study_id, "1")
    high = float(np.percentile(item.pixels, 99))
    ds.WindowCenter, ds.WindowWidth = str(round(high / 2)), str(max(round(high), 1))
    if int(study_id) % 5 == 0:
        ds.RescaleIntercept, ds.RescaleSlope = "0", "1"
    _plain(ds, EnhancedMRImageStorage)
    ds.file_meta.TransferSyntaxUID = RLELossless
    ds.PixelData = encapsulate([rle_frame(item.pixels.astype("<u2"))])
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    return ds


def _plain(ds: Dataset, storage: str) -> None:
    """Give a data set the file meta of an uncompressed file."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = storage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if not MODERN_PYDICOM:
        ds.is_little_endian, ds.is_implicit_VR = True, False


def _save(ds: Dataset, path: Path) -> None:
    options = {"enforce_file_format": True} if MODERN_PYDICOM else {"write_like_original": False}
    pydicom.dcmwrite(path, ds, **options)


def write_study(phantom: PhantomStudy, folder: Path) -> None:
    """Write all series of a phantom as `folder/<series>/<instance>.dcm`, in the competition's way or a scanner's."""
    share = np.random.default_rng(int(phantom.study.study_id)).random()
    build = _competition_file if share < COMPETITION_SHARE else _scanner_file
    for series, protocol in zip(phantom.study.series, phantom.protocols, strict=True):
        target = folder / series.series_id
        target.mkdir(parents=True, exist_ok=True)
        for item in series.slices:
            _save(build(phantom, series, protocol, item), target / f"{item.instance_number}.dcm")


def _marked(phantom: PhantomStudy, role: str, point: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Row | None:
    """Series, instance, x and y of a point on the nearest slice that shows it; None when no slice comes near."""
    best: Row | None = None
    nearest = 8.0
    for series, protocol in zip(phantom.study.series, phantom.protocols, strict=True):
        for item in series.slices if series.role == role else ():
            distance = abs(float(item.plane.distance(point)))
            row, column = item.plane.to_pixel(point)
            seen = bool(item.plane.contains(np.array([row, column])))
            if seen and distance < min(nearest, 0.75 * protocol.spacing_between_slices):
                nearest = distance
                best = (series.series_id, item.instance_number or 0, float(column), float(row))
    return best


def coordinate_rows(phantom: PhantomStudy) -> tuple[Row, ...]:
    """Rows of train_label_coordinates.csv: canal on sagittal T2, foramina on sagittal T1, recesses on axial T2."""
    rows = []
    for target in TRAIN_TARGETS:
        marked = _marked(phantom, schema.MARKED_ON[target.group], phantom.truth.point_of(target))
        if marked is not None:
            series_id, instance, x, y = marked
            rows.append((phantom.study.study_id, series_id, instance, *_names(target), x, y))
    return tuple(rows)


def _names(target: schema.Target) -> tuple[str, str]:
    """Condition and level as `train_label_coordinates.csv` spells them."""
    return schema.CONDITION_NAMES[target.condition], target.level_name


def study_rows(phantom: PhantomStudy) -> StudyRows:
    """All table rows of a phantom.

    As in the competition, what is marked on a series that the study lacks has no grade, nor has a recess that no axial
    slice shows.
    """
    study_id = phantom.study.study_id
    coordinates = coordinate_rows(phantom)
    marked = {(row[3], row[4]) for row in coordinates}
    roles = {item.role for item in phantom.study.series}
    grades: list[str] = []
    for target in TRAIN_TARGETS:
        unseen = target.group == schema.SUBARTICULAR and _names(target) not in marked
        missing = unseen or schema.MARKED_ON[target.group] not in roles
        grade = schema.SEVERITY_NAMES[int(phantom.truth.grades[schema.TARGETS.index(target)])]
        grades.append("" if missing else grade)
    series = tuple((study_id, item.series_id, item.role) for item in phantom.study.series)
    return StudyRows(study_id, series, (study_id, *grades), coordinates)


def dataset_study(seed: int, index: int, *, balanced: bool = False, reader_noise: float = 0.0) -> PhantomStudy:
    """One study of the data set of a seed, counted from zero, in memory; options as in `write_dataset`."""
    study_id = f"{seed % 90000 + 10000}{index:05d}"
    lost = np.random.default_rng((seed, index)).random()
    missing = {role for role, (low, high) in MISSING.items() if low <= lost < high}
    roles = tuple(role for role in schema.SERIES_DESCRIPTIONS if role not in missing)
    key = np.random.SeedSequence(seed, spawn_key=(index,))
    phantom = make_phantom(key, study_id=study_id, balanced=balanced, roles=roles)
    if not reader_noise:
        return phantom
    rng = np.random.default_rng((seed, index, 1))
    return replace(phantom, truth=read_truth(phantom.truth, rng, noise=reader_noise))


def _write_one(index: int, *, images: Path, seed: int, balanced: bool, reader_noise: float) -> StudyRows:
    phantom = dataset_study(seed, index, balanced=balanced, reader_noise=reader_noise)
    write_study(phantom, images / phantom.study.study_id)
    return study_rows(phantom)


def _write_csv(path: Path, header: Sequence[str], rows: Iterator[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _collect(job: Callable[[int], StudyRows], count: int, *, workers: int, progress: bool) -> list[StudyRows]:
    options = {"total": count, "disable": not progress, "desc": "phantoms"}
    if workers <= 1:
        return list(tqdm(map(job, range(count)), **options))
    # spawned, not forked: the caller may hold threads (torch, OpenCV)
    with process_pool(workers) as pool:
        return list(tqdm(pool.map(job, range(count)), **options))


def write_dataset(
    out: Path,
    *,
    studies: int,
    seed: int,
    split: str = "test",
    workers: int = 1,
    progress: bool = False,
    balanced: bool = False,
    reader_noise: float = 0.0,
) -> None:
    """Write a data set in the competition's layout; the files do not depend on the number of workers.

    Args:
        out: folder to fill; created if missing. It may hold the other split, but no studies of this one.
        studies: how many studies, at most 100,000.
        seed: the only source of randomness; study ids follow from it and are unique within a data set.
        split: "test" (truth is written beside the images) or "train" (tables as in the competition's training set).
        workers: processes that draw and write.
        progress: show a bar.
        balanced: make stenosis much more common than in the competition.
        reader_noise: disagreement of the raters behind the tables, see `read_truth`; 0 writes the exact truth.

    Raises:
        ConfigError: for an impossible split or number of studies, or where there are studies already.
    """
    if split not in ("test", "train"):
        msg = f"unknown split {split!r}; choose 'test' or 'train'"
        raise ConfigError(msg)
    if not 0 <= studies <= 100_000:
        msg = f"cannot write {studies} studies; choose 0 to 100000"
        raise ConfigError(msg)
    images = out / f"{split}_images"
    if images.is_dir() and any(images.iterdir()):
        msg = (
            f"{str(images)!r} holds studies, which would mix with those to be written; remove it or name another folder"
        )
        raise ConfigError(msg)
    images.mkdir(parents=True, exist_ok=True)
    job = partial(_write_one, images=images, seed=seed, balanced=balanced, reader_noise=reader_noise)
    rows = _collect(job, studies, workers=workers, progress=progress)
    names = ("train.csv", "train_label_coordinates.csv")
    if split == "test":
        names = ("truth.csv", "truth_label_coordinates.csv")
        even = (1 / len(schema.SEVERITIES),) * len(schema.SEVERITIES)
        blank: Iterator[Row] = ((row_id, *even) for item in rows for row_id in schema.row_ids(item.study_id))
        _write_csv(out / "sample_submission.csv", schema.SUBMISSION_COLUMNS, blank)
    header = ("study_id", "series_id", "series_description")
    _write_csv(out / f"{split}_series_descriptions.csv", header, (row for item in rows for row in item.series))
    _write_csv(out / names[0], TRAIN_COLUMNS, (item.grades for item in rows))
    _write_csv(out / names[1], COORDINATE_COLUMNS, (row for item in rows for row in item.coordinates))
    logger.info("wrote %d phantom studies", studies)
