"""Distance of phantom pictures from real ones, view by view, compared with the distance between real ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from benchmarks.phantom.findings import Finding, Section, at_most
from evaluation import real_slices
from lumbar_kernel.grids import upright_grid
from lumbar_kernel.intensities import normalise
from lumbar_kernel.localisation.slice_maps import frame_of
from lumbar_kernel.phantom import PhantomTruth
from lumbar_kernel.resampling import sample
from lumbar_kernel.schema import AXIAL_T2, LEVELS, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.slice_choice import axial_showing, nearest_sagittal
from lumbar_kernel.study import Slice, Study

Picture = NDArray[np.uint8]
Statistics = Mapping[str, NDArray[np.float64]]
"""Name → vector, of one picture."""

FORAMINA_T1, MIDDLE_T1, MIDDLE_T2 = "sagittal T1 at the foramina", "sagittal T1 middle", "sagittal T2 middle"
AXIAL = "axial T2 at the discs"
VIEWS = (FORAMINA_T1, MIDDLE_T1, MIDDLE_T2, AXIAL)

JPEG_QUALITY = 90
"""Real pictures are JPEG files; phantoms are compressed alike, so that compression is no difference."""

SQUASHED = 250
"""Rows and columns of the pictures of `sagittal_t1`."""

CROP_MM, CROP_SHAPE = 52.8, (84, 120)
"""Mean width of the axial crops with a field of view of 170 mm assumed, and the grid they are compared on."""

MAX_PICTURES = 400
"""Real pictures of one source that are looked at."""

SPLITS = 5
STATISTICS = ("intensity", "edges", "noise", "spectrum")


@dataclass(frozen=True, eq=False)
class Sample:
    """A picture's statistics with its patient and pack."""

    group: str
    source: str
    statistics: Statistics


def statistics(picture: Picture) -> Statistics:
    """Quantiles of intensity and of edge strength, noise, and the radial power spectrum of a picture."""
    image = normalise(picture.astype(np.float32))
    shown = image[picture > 0]
    down, across = np.gradient(image)
    edges = np.log(np.hypot(down, across)[picture > 0] + 1e-3)
    return {
        "intensity": np.quantile(shown, np.linspace(0.05, 0.95, 19)),
        "edges": np.quantile(edges, np.linspace(0.1, 0.98, 12)),
        "noise": _noise(image),
        "spectrum": _spectrum(image),
    }


def _noise(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log of noise: of the whole picture by Immerkær's operator, and of its flattest lit blocks of 8 × 8 pixels.

    J. Immerkær, Fast Noise Variance Estimation, Computer Vision and Image Understanding 64 (1996) 300-302.
    """
    operator = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    residual = cv2.filter2D(image, -1, operator)
    rows, columns = (size // 8 * 8 for size in image.shape)
    blocks = [
        part[:rows, :columns].reshape(rows // 8, 8, -1, 8).transpose(0, 2, 1, 3).reshape(-1, 64)
        for part in (residual, image)
    ]
    lit = blocks[1].mean(axis=1) > 0.08
    spread = blocks[0][lit].std(axis=1) if lit.any() else np.zeros(1)
    whole = np.sqrt(np.pi / 2) * np.abs(residual).mean()
    return np.log(np.array([whole, *np.quantile(spread, (0.1, 0.3, 0.5))]) + 1e-4)


def _spectrum(image: NDArray[np.float32], rings: int = 16) -> NDArray[np.float64]:
    """Log fraction of the power in rings of rising spatial frequency, up to Nyquist along the shorter side."""
    window = np.outer(np.hanning(image.shape[0]), np.hanning(image.shape[1]))
    power = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(size) for size in image.shape), indexing="ij"))
    ring = np.minimum((frequency / 0.5 * rings).astype(int), rings)
    total = np.bincount(ring.ravel(), power.ravel(), minlength=rings + 1)[:rings]
    fractions: NDArray[np.float64] = np.log(total / max(total.sum(), 1e-9) + 1e-9)
    return fractions


def phantom_pictures(study: Study, truth: PhantomTruth, *, suppressed: bool) -> Iterator[tuple[str, Picture]]:
    """View and picture of a phantom, stored as the packs store theirs; no fat-suppressed ones, which packs lack."""
    middle = truth.canal[2]
    if t1 := study.slices(SAGITTAL_T1):
        yield MIDDLE_T1, _framed(nearest_sagittal(t1, middle))
        for points in truth.foramina.transpose(1, 0, 2):
            yield FORAMINA_T1, _framed(nearest_sagittal(t1, np.median(points, axis=0)), squashed=True)
    if not suppressed and (t2 := study.slices(SAGITTAL_T2)):
        yield MIDDLE_T2, _framed(nearest_sagittal(t2, middle))
    axial = study.slices(AXIAL_T2)
    for level in range(len(LEVELS)):
        item = axial_showing(axial, truth.canal[level], normal=truth.disc_normal[level])
        if item is not None:
            centre, spacing = truth.recesses[level].mean(axis=0), CROP_MM / CROP_SHAPE[1]
            grid = upright_grid(item.plane, centre, sagittal=False, spacing=spacing, shape=CROP_SHAPE)
            yield AXIAL, _stored(sample(item, grid))


def _stored(image: NDArray[np.float32]) -> Picture:
    """Grey bytes that went through JPEG."""
    grey = np.clip(image / max(float(np.percentile(image, 99.5)), 1e-6) * 255, 0, 255).astype(np.uint8)
    _, coded = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)


def _framed(item: Slice, *, squashed: bool = False) -> Picture:
    """A sagittal slice, upright, in the localisers' frame, by way of the size that its pack stores."""
    if not squashed:
        return _stored(sample(item, frame_of(item)))
    height, width = item.plane.extent_mm
    pixels = cv2.resize(item.pixels, (SQUASHED, SQUASHED), interpolation=cv2.INTER_AREA)
    return real_slices.letterbox(_stored(pixels), rows=height, columns=width)[0]


def real_pictures(data: Path) -> Iterator[tuple[str, str, str, Picture]]:
    """View, group, pack and picture of the real packs that are there, at most `MAX_PICTURES` of each pack and view."""
    if (data / "sagittal_t1").is_dir():
        table = pd.read_csv(data / "sagittal_t1" / "points.csv", dtype={"study_id": str})
        rows = real_slices.rows_by(table, "image")
        for name, picture in list(real_slices.pictures(data / "sagittal_t1"))[:: _stride(len(rows))]:
            if name in rows:
                row = rows[name].iloc[0]
                frame = real_slices.letterbox(picture, rows=row["rows"], columns=row["columns"])[0]
                yield FORAMINA_T1, row["study_id"], "sagittal_t1", frame
    for pack in ("sudirman_sagittal", "spider_midsagittal"):
        if (data / pack).is_dir():
            for name, picture in list(real_slices.pictures(data / pack))[: 2 * MAX_PICTURES]:
                height, width = real_slices.true_size(picture, pack)
                frame = real_slices.letterbox(picture, rows=height, columns=width)[0]
                view = MIDDLE_T1 if "_t1." in name else MIDDLE_T2
                yield view, f"{pack}-{Path(name).name.split('_')[0]}", pack, frame
    if (data / "axial_t2_crops").is_dir():
        crops = list(real_slices.pictures(data / "axial_t2_crops", "crops.zip"))
        for name, picture in crops[:: _stride(len(crops))]:
            height = picture.shape[0] // 3
            frame = cv2.resize(picture[height : 2 * height], CROP_SHAPE[::-1], interpolation=cv2.INTER_LINEAR)
            yield AXIAL, name.split("_")[0], "axial_t2_crops", frame


def _stride(count: int) -> int:
    """So that at most `MAX_PICTURES` of a pack are taken, from all over it."""
    return max(1, -(-count // MAX_PICTURES))


def real_samples(data: Path) -> dict[str, list[Sample]]:
    """Statistics of the real pictures by view."""
    found: dict[str, list[Sample]] = {view: [] for view in VIEWS}
    for view, group, source, picture in real_pictures(data):
        found[view].append(Sample(group, source, statistics(picture)))
    return found


def distance(one: Sequence[Statistics], other: Sequence[Statistics], name: str, scale: NDArray[np.float64]) -> float:
    """Mean 1-Wasserstein distance between two sets of pictures over the entries of a statistic, in units of `scale`."""
    left, right = (np.array([item[name] for item in side]) for side in (one, other))
    apart = [wasserstein_distance(left[:, k], right[:, k]) for k in range(left.shape[1])]
    return float(np.mean(np.array(apart) / scale))


def realism(phantoms: Mapping[str, Sequence[Statistics]], real: Mapping[str, Sequence[Sample]]) -> Section:
    """One finding per view and statistic: phantoms from real pictures, compared with real from real.

    The shift shows the direction: mean of phantoms minus real ones over the lower, middle and upper third of the
    quantiles or frequencies; for noise over the whole picture and its flattest blocks, then the others. Where a view
    has two packs, phantoms may be as far from the real pictures as these packs are from each other.
    """
    findings: list[Finding] = []
    for view in VIEWS:
        own, true = list(phantoms.get(view, ())), list(real.get(view, ()))
        if len(own) < 4 or len(true) < 8:
            continue
        for name in STATISTICS:
            findings.append(_finding(view, name, own, true))
    return Section("Distance of pictures from real ones, in standard deviations of real ones", tuple(findings))


def _finding(view: str, name: str, own: Sequence[Statistics], true: Sequence[Sample]) -> Finding:
    every = [item.statistics for item in true]
    scale = np.array([item[name] for item in every]).std(axis=0) + 1e-6
    found = distance(own, every, name, scale)
    halves = np.mean([_halves(true, name, scale, len(own), seed) for seed in range(SPLITS)])
    shift = np.mean([item[name] for item in own], axis=0) - np.mean([item[name] for item in every], axis=0)
    note = f"real from real {halves:.2f}; {len(own)} phantom and {len(true)} real pictures; "
    note += "shift " + ", ".join(f"{part.mean():+.1f}" for part in np.array_split(shift / scale, 3))
    by_source = {source: [s.statistics for s in true if s.source == source] for source in {s.source for s in true}}
    if len(by_source) < 2:
        return Finding(f"{view}, {name}", found, "", None, note)
    one, other = by_source.values()
    return at_most(f"{view}, {name}", found, distance(one, other, name, scale), f"{note}; the limit is pack from pack")


def _halves(true: Sequence[Sample], name: str, scale: NDArray[np.float64], count: int, seed: int) -> float:
    """Distance of as many real pictures as there are phantoms from those of other patients."""
    groups = sorted({item.group for item in true})
    first = set(np.random.default_rng(seed).permutation(groups)[: len(groups) // 2])
    sides = [[item.statistics for item in true if (item.group in first) == expected] for expected in (True, False)]
    return distance(sides[0][:count], sides[1], name, scale)
