"""The packs of single real slices in `shared/data` → pictures with landmarks, in the localisers' own frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.real_slices import letterbox, pictures, rows_by
from lumbar_kernel.localisation.axial import WINDOW_SPACING_MM
from lumbar_kernel.localisation.slice_maps import FORAMINA, FRAME, MARGINS, POINTS
from lumbar_kernel.schema import LEVELS
from training.augment import warp
from training.examples import LandmarkExample, LandmarkExamples
from training.marked_pictures import LEVEL_INDEX, READERS, MarkedSlice, axial_crops, marked_slices
from training.studies import POINTS_SHAPE

AWAY_SLICES = 2
"""Number of slices, usually 9 mm, from which a marked foramen is no longer visible."""


def _to_frame(places: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Row and column relative to a picture, (n, 2), in the localiser's frame."""
    corner = np.array([(FRAME - height) // 2, (FRAME - width) // 2])
    moved: NDArray[np.float64] = places * [height, width] + corner - 0.5
    return moved


def sagittal_t1(data: Path) -> LandmarkExamples:
    """Marked foramina, and what each mark implies for other landmarks.

    On a slice with a marked foramen the disc margin of that level is not visible. A foramen that the reader marked two
    or more slices away on the same side is not visible either: so the network learns the slice position of foramina.
    """
    pack = data / "sagittal_t1"
    marks = pd.read_csv(pack / "points.csv", dtype={"study_id": str})
    elsewhere = _slices_by_foramen(marks)
    table = rows_by(marks, "image")
    found: list[LandmarkExample] = []
    for name, picture in pictures(pack):
        rows = table.get(name)
        if rows is None:  # a few slices of the archive have no row in the table
            continue
        frame, height, width = letterbox(picture, rows=rows["rows"].iloc[0], columns=rows["columns"].iloc[0])
        points, known = np.full((POINTS, 2), np.nan), np.zeros(POINTS, bool)
        levels = rows["level"].map(LEVEL_INDEX).to_numpy()
        foramina, margins = np.array(FORAMINA)[levels], np.array(MARGINS)[levels]
        points[foramina] = _to_frame(rows[["y_rel", "x_rel"]].to_numpy(), height, width)
        known[foramina] = known[margins] = True
        first = rows.iloc[0]
        for level in set(range(len(LEVELS))) - set(levels):
            place = elsewhere.get((first["series_id"], first["condition"], level))
            known[FORAMINA[level]] = place is not None and abs(place - first["instance_number"]) >= AWAY_SLICES
        found.append(LandmarkExample(frame, points, known, first["study_id"], first["fold"], "t1"))
    return LandmarkExamples.of(found, source="sagittal_t1")


def _slices_by_foramen(marks: pd.DataFrame) -> dict[tuple[object, object, int], float]:
    """Instance number of the marked slice by series, condition (which gives the side) and level index."""
    levels = marks["level"].map(LEVEL_INDEX)
    keys = zip(marks["series_id"], marks["condition"], levels, strict=True)
    return dict(zip(keys, marks["instance_number"].astype(float), strict=True))


def midsagittal(data: Path, pack: str) -> LandmarkExamples:
    """Posterior disc margins on the mid-sagittal slices of a pack, where no foramen is shown.

    A T1 and a T2 slice of one patient in one matrix, named `<patient>_t1` and `<patient>_t2`, also give a pseudo-STIR
    picture (bright fluid, dark fat).
    """
    marks = {mark.name: mark for mark in marked_slices(data, pack)}
    found: list[LandmarkExample] = []
    for name, mark in marks.items():
        if np.isnan(mark.margins).all() or mark.fold < 0:
            continue
        found.append(_midsagittal(mark))
        partner = marks.get(name.replace("_t2.", "_t1."), mark)
        if (mark.weighting, partner.weighting) == ("t2", "t1") and partner.picture.shape == mark.picture.shape:
            mixed = pseudo_stir(mark.picture, partner.picture)
            found.append(_midsagittal(replace(mark, picture=mixed, weighting="stir")))
    return LandmarkExamples.of(found, source=pack)


def _midsagittal(mark: MarkedSlice) -> LandmarkExample:
    frame, height, width = letterbox(mark.picture, rows=mark.rows, columns=mark.columns)
    points, known = np.full((POINTS, 2), np.nan), np.zeros(POINTS, bool)
    points[MARGINS] = _to_frame(mark.margins, height, width)
    known[MARGINS] = known[FORAMINA] = ~np.isnan(mark.margins[:, 0])
    return LandmarkExample(frame, points, known, mark.group, mark.fold, mark.weighting)


def pseudo_stir(t2: NDArray[np.uint8], t1: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A fat-suppressed look from a T2 and a T1 slice in one matrix: T2 × clip(1 - T1, .05, 1)^1.5.

    Formula of the data folder's README; each slice is scaled by its 99th percentile and T1 is slightly blurred.
    """
    bright = t2 / max(np.percentile(t2, 99), 1)
    fat = cv2.GaussianBlur(t1 / max(np.percentile(t1, 99), 1), (0, 0), 1.0)
    mixed = bright * np.clip(1 - fat, 0.05, 1) ** 1.5
    grey: NDArray[np.uint8] = np.clip(255 * mixed / max(np.percentile(mixed, 99.5), 1e-6), 0, 255).astype(np.uint8)
    return grey


def axial_points(data: Path) -> LandmarkExamples:
    """Left and right subarticular points on the middle slice of the axial crops, on a grid wider than the crop.

    What lies outside the crop is mirrored.
    """
    found: list[LandmarkExample] = []
    for crop in axial_crops(data):
        if np.isnan(crop.recesses).all():
            continue
        scale = crop.mm / WINDOW_SPACING_MM
        middle, target = (np.array(crop.shape) - 1) / 2, (np.array(POINTS_SHAPE) - 1) / 2
        matrix = np.array([[scale, 0, target[1] - scale * middle[1]], [0, scale, target[0] - scale * middle[0]]])
        frame = warp(crop.slices[1], matrix, POINTS_SHAPE, border=cv2.BORDER_REFLECT_101)
        points = (crop.recesses - middle) * scale + target
        known = ~np.isnan(points[:, 0])
        found.append(LandmarkExample(frame, points, known, crop.study_id, crop.fold, "t2"))
    return LandmarkExamples.of(found, source="axial_t2_crops")


def landmark_packs(data: Path) -> list[LandmarkExamples]:
    """All sagittal packs that exist."""
    foramina = [sagittal_t1(data)] if (data / "sagittal_t1").is_dir() else []
    return foramina + [midsagittal(data, pack) for pack in READERS if (data / pack).is_dir()]
