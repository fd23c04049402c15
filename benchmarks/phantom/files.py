"""Files of phantoms: where their labels lead in millimetres, how they were taken, and whether they repeat."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from benchmarks.phantom.findings import Finding, Section, at_least, at_most, near
from evaluation.study_truth import TARGET_OF_NAMES
from lumbar_kernel.phantom import PhantomTruth, write_dataset
from lumbar_kernel.phantom.write import Row
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T2

IN_PLANE_MM = 0.01
"""Labels are written to far more digits; half a pixel is 200 to 500 times as much."""

TURN_DEGREES = 3.0
"""Axial slices whose normals differ by more belong to different blocks."""


@dataclass(frozen=True)
class RoundTrip:
    """One label on its way from patient to file and back.

    Attributes:
        in_plane_mm: from the truth, projected on the labelled slice, to where label and header lead.
        across_steps: distance of the truth from that slice, in steps from slice to slice.
    """

    in_plane_mm: float
    across_steps: float


def round_trips(folder: Path, rows: Sequence[Row], truth: PhantomTruth) -> list[RoundTrip]:
    """Every label of a study followed through the header of its file, by the formula of DICOM PS3.3 C.7.6.2.1.1.

    Args:
        folder: `<series>/<instance>.dcm` of the study.
        rows: its rows of the coordinates table.
        truth: where the landmarks are.
    """
    trips = []
    for _, series, instance, condition, level, x, y in rows:
        header = pydicom.dcmread(folder / str(series) / f"{instance}.dcm", stop_before_pixels=True)
        across, down = np.split(np.array(header.ImageOrientationPatient, dtype=float), 2)
        row_spacing, column_spacing = map(float, header.PixelSpacing)
        origin = np.array(header.ImagePositionPatient, dtype=float)
        place = origin + float(x) * column_spacing * across + float(y) * row_spacing * down
        offset = place - truth.point_of(TARGET_OF_NAMES[str(condition), str(level)])
        through = float(offset @ np.cross(across, down))
        in_plane = float(np.linalg.norm(offset - through * np.cross(across, down)))
        trips.append(RoundTrip(in_plane, abs(through) / _step(header)))
    return trips


def _step(header: pydicom.Dataset) -> float:
    """Slice step in mm; some headers only hold the thickness, as in the challenge."""
    return float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or "nan")


def geometry(trips: Sequence[RoundTrip], studies: int) -> Section:
    """How far labels lead from the truth, over all labels."""
    in_plane, across = (np.array([getattr(trip, name) for trip in trips]) for name in ("in_plane_mm", "across_steps"))
    return Section(
        "Truth to file and back",
        (
            at_most("largest error in the plane, mm", float(in_plane.max()), IN_PLANE_MM, f"{len(trips)} labels"),
            at_most("truth from its labelled slice, 99th percentile, steps", float(np.nanpercentile(across, 99)), 0.51),
            at_least("labels a study, of 25", len(trips) / studies, 23.5, "recesses may lie outside an axial stack"),
        ),
    )


@dataclass(frozen=True)
class Acquisition:
    """How one series was taken.

    Attributes:
        role: one of `schema.SERIES_DESCRIPTIONS`.
        slices, rows, columns: size.
        step_mm: SpacingBetweenSlices.
        rightwards: whether sagittal slices run from patient right to left with rising instance number.
        blocks: groups of slices of equal tilt.
        suppressed: whether fat is suppressed by inversion.
        rle: whether the pixels are RLE Lossless.
    """

    role: str
    slices: int
    rows: int
    columns: int
    step_mm: float
    rightwards: bool
    blocks: int
    suppressed: bool
    rle: bool


def acquisition(folder: Path, role: str, *, suppressed: bool) -> Acquisition:
    """Acquisition of the series in a folder; fat suppression is an argument, since stripped headers do not hold it."""
    paths = sorted(folder.glob("*.dcm"), key=lambda path: int(path.stem))
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]
    first, last = headers[0], headers[-1]
    axes = [np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3) for header in headers]
    normals = [np.cross(along, down) for along, down in axes]
    blocks: list[NDArray[np.float64]] = []
    for normal in normals:
        if not any(abs(normal @ other) > np.cos(np.radians(TURN_DEGREES)) for other in blocks):
            blocks.append(normal)
    return Acquisition(
        role=role,
        slices=len(headers),
        rows=int(first.Rows),
        columns=int(first.Columns),
        step_mm=_step(first),
        rightwards=float(last.ImagePositionPatient[0]) > float(first.ImagePositionPatient[0]),
        blocks=len(blocks),
        suppressed=suppressed,
        rle=first.file_meta.TransferSyntaxUID.is_compressed,
    )


def styles(taken: Sequence[Sequence[Acquisition]]) -> Section:
    """Acquisition of many studies compared with that of the challenge, counted on its 1,975 studies."""
    series = [item for study in taken for item in study]
    sagittal = [item for item in series if item.role != AXIAL_T2]
    axial = [item for item in series if item.role == AXIAL_T2]
    several = [sum(item.role == AXIAL_T2 for item in study) > 1 for study in taken]
    fluid = [item.suppressed for item in sagittal if item.role == SAGITTAL_T2]
    complete = [len({item.role for item in study}) == 3 for study in taken]
    chance = 2 / float(np.sqrt(len(taken)))

    def share(what: str, values: Sequence[bool], expected: float, tolerance: float) -> Finding:
        allowed = tolerance + chance * float(np.sqrt(expected * (1 - expected)))
        return near(what, float(np.mean(values)), expected, allowed, f"n {len(values)}")

    def finding(what: str, values: Sequence[float]) -> Finding:
        return Finding(what, float(np.mean(values)), "", None, f"n {len(values)}")

    steps = np.array([item.step_mm for item in sagittal])
    return Section(
        "Acquisition compared with the challenge",
        (
            near("sagittal step, median mm", float(np.nanmedian(steps)), 4.5, 0.3, f"SD {np.nanstd(steps):.2g}"),
            share("sagittal series that run right to left", [item.rightwards for item in sagittal], 0.64, 0.08),
            share("sagittal matrices that are not square", [i.rows != i.columns for i in sagittal], 0.135, 0.06),
            share("studies with several axial series", several, 0.17, 0.08),
            finding("axial series of several tilted blocks, fraction", [item.blocks > 1 for item in axial]),
            share("fat-suppressed sagittal T2", fluid, 0.15, 0.10),
            share("studies with all three roles", complete, 0.998, 0.03),
            finding("RLE Lossless series, fraction", [item.rle for item in series]),
            near("slices of a sagittal series, mean", float(np.mean([i.slices for i in sagittal])), 15.5, 2.5),
            finding("slices of an axial series, mean", [item.slices for item in axial]),
        ),
    )


def tree_hashes(folder: Path) -> Mapping[str, str]:
    """SHA-256 of every file below a folder, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def determinism(*, studies: int, seed: int, workers: Sequence[int] = (1, 2, 3)) -> Section:
    """Whether data sets of one seed are identical to the byte for any number of processes."""
    hashes = []
    for count in workers:
        with tempfile.TemporaryDirectory() as folder:
            write_dataset(Path(folder), studies=studies, seed=seed, workers=count)
            hashes.append(tree_hashes(Path(folder)))
    differing = sum(len(set(hashes[0].items()) ^ set(other.items())) for other in hashes[1:])
    note = f"{len(hashes[0])} files of {studies} studies, {' and '.join(map(str, workers))} processes"
    return Section("Determinism", (at_most("files that differ", differing, 0, note),))
