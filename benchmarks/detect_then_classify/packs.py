"""The two packs of graded RSNA pictures, as a detector and a classifier of crops see them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.held_out_studies import HELD_OUT_STUDIES
from evaluation.real_slices import pictures, rows_by
from lumbar_kernel.schema import CANAL, FORAMINAL, LEVELS, SEVERITY_NAMES, SIDES, SUBARTICULAR

GRADE = {name: index for index, name in enumerate(SEVERITY_NAMES)}
LEVEL = {name: index for index, name in enumerate(LEVELS)}

AXIAL_CONDITIONS = (f"left_{SUBARTICULAR}", CANAL, f"right_{SUBARTICULAR}")
"""What the classes of the axial detector are graded for: left recess, canal, right recess."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Graded rows, each seen on one picture of its pack.

    Attributes:
        picture: (n,) index of the picture.
        target: (n,) class of the detector that shows the row.
        point: (n, 2) marked row and column, relative to the picture, NaN where there is no mark.
        label: (n,) grade 0..2.
        row_id: (n,) row of the submission; several pictures may show the same.
        stratum: (n,) condition and level, the unit of the prior.
        group: (n,) condition.
    """

    picture: NDArray[np.intp]
    target: NDArray[np.intp]
    point: NDArray[np.float64]
    label: NDArray[np.intp]
    row_id: NDArray[np.str_]
    stratum: NDArray[np.str_]
    group: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Pack:
    """Pictures with the boxes that a detector learns and the rows that a classifier learns.

    Attributes:
        name: folder of the pack.
        pictures: grey pixels, one picture a slice.
        neighbours: the slice beside each picture that takes its place in the shifted figures; empty without.
        study: (pictures,) study id.
        series: (pictures,) series id.
        instance: (pictures,) number in the series.
        fold: (pictures,) fold of the study.
        classes: names of the detector's classes.
        boxes: for each picture an array (k, 3) of class, relative row and column of a box's centre.
        boxed: (pictures,) whether all boxes of the picture are known, so that a detector may learn from it.
        box: height and width of the boxes of each class, relative to the picture.
        window: side of a crop, relative to the picture's width.
        size: side of the pictures that the detector sees.
        rows: the graded rows.
    """

    name: str
    pictures: list[NDArray[np.uint8]]
    neighbours: list[NDArray[np.uint8]]
    study: NDArray[np.str_]
    series: NDArray[np.str_]
    instance: NDArray[np.intp]
    fold: NDArray[np.intp]
    classes: tuple[str, ...]
    boxes: list[NDArray[np.float64]]
    boxed: NDArray[np.bool_]
    box: NDArray[np.float64]
    window: float
    size: int
    rows: Rows


@cache
def load_pack(data: Path, name: str) -> Pack:
    """The pack of that name below a folder laid out as `shared/data`."""
    return READERS[name](data)


def _foramina(data: Path) -> Pack:
    """Whole sagittal T1 slices; the detector's classes are the levels of the foramina.

    A slice shows more foramina than were marked on it, which the detector learns as background, as the entries do.
    """
    table = pd.read_csv(data / "sagittal_t1" / "points.csv", dtype={"study_id": str, "series_id": str})
    by_image = rows_by(table[~table["study_id"].isin(HELD_OUT_STUDIES)], "image")
    images = [(name, picture) for name, picture in pictures(data / "sagittal_t1") if name in by_image]
    marks = [by_image[name] for name, _ in images]
    first = pd.DataFrame([rows.iloc[0] for rows in marks])
    rows = [
        _row(index, LEVEL[mark["level"]], (mark["y_rel"], mark["x_rel"]), mark["label"], mark["row_id"], FORAMINAL)
        for index, own in enumerate(marks)
        for _, mark in own.iterrows()
        if mark["label"] in GRADE
    ]
    return Pack(
        name="sagittal_t1",
        pictures=[picture for _, picture in images],
        neighbours=[],
        study=first["study_id"].to_numpy(dtype=str),
        series=first["series_id"].to_numpy(dtype=str),
        instance=first["instance_number"].to_numpy(dtype=int),
        fold=first["fold"].to_numpy(dtype=int),
        classes=LEVELS,
        boxes=[np.stack([own["level"].map(LEVEL), own["y_rel"], own["x_rel"]], axis=1).astype(float) for own in marks],
        boxed=np.ones(len(images), bool),
        box=np.full((len(LEVELS), 2), 24 / 250),
        window=32 / 250,
        size=256,
        rows=_table(rows),
    )


def _axial(data: Path) -> Pack:
    """Axial crops at the discs; the canal's centre is taken midway between two marked recesses."""
    table = pd.read_csv(data / "axial_t2_crops" / "labels.csv", dtype={"study_id": str, "series_id": str})
    known = {row["image"]: row for _, row in table.iterrows() if row["study_id"] not in HELD_OUT_STUDIES}
    crops_of = pictures(data / "axial_t2_crops", "crops.zip")
    # Caudal and cranial neighbours in turn, counted over all pictures, as in the figures of the kernel.
    images = [(known[name], picture, 2 * (k % 2)) for k, (name, picture) in enumerate(crops_of) if name in known]
    first = pd.DataFrame([row for row, *_ in images])
    thirds = [np.split(picture[: len(picture) // 3 * 3], 3) for _, picture, _ in images]
    points = [_axial_points(row, middle.shape) for (row, *_), (_, middle, _) in zip(images, thirds, strict=True)]
    targets = dict(zip(AXIAL_CONDITIONS, range(3), strict=True))
    rows = []
    for index, (row, *_) in enumerate(images):
        for condition, target in targets.items():
            if row[condition] in GRADE:
                group = CANAL if condition == CANAL else SUBARTICULAR
                row_id = f"{row['study_id']}_{condition}_{row['level']}"
                rows.append(_row(index, target, points[index][target], row[condition], row_id, group))
    return Pack(
        name="axial_t2_crops",
        pictures=[middle for _, middle, _ in thirds],
        neighbours=[parts[which] for parts, (*_, which) in zip(thirds, images, strict=True)],
        study=first["study_id"].to_numpy(dtype=str),
        series=first["series_id"].to_numpy(dtype=str),
        instance=first["instance_number"].to_numpy(dtype=int),
        fold=first["fold"].to_numpy(dtype=int),
        classes=("left recess", "canal", "right recess"),
        boxes=[np.column_stack([range(3), own]) for own in points],
        boxed=np.array([bool(((own >= 0) & (own < 1)).all()) for own in points]),
        box=np.array([[0.3, 0.2], [0.4, 0.3], [0.3, 0.2]]),
        window=0.3,
        size=160,
        rows=_table(rows),
    )


Row = tuple[int, int, tuple[float, float], int, str, str, str]
"""The fields of one of `Rows`."""

READERS = {"sagittal_t1": _foramina, "axial_t2_crops": _axial}


def _axial_points(row: pd.Series, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Relative row and column of left recess, canal and right recess, NaN where a recess has no mark."""
    left, right = ((np.array([row[f"{side}_y"], row[f"{side}_x"]], float) + 0.5) / shape for side in SIDES)
    return np.stack([left, (left + right) / 2, right])


def _row(picture: int, target: int, point: tuple[float, float], label: str, row_id: str, group: str) -> Row:
    return picture, target, point, GRADE[label], row_id, f"{group}_{row_id[-len(LEVELS[0]) :]}", group


def _table(rows: list[Row]) -> Rows:
    return Rows(*map(np.array, zip(*rows, strict=True)))


def crops(
    sources: list[NDArray[np.uint8]], centre: NDArray[np.float64], *, window: float, pixels: int, wider: float = 1.0
) -> NDArray[np.uint8]:
    """Square crops around relative places, one of each picture, (n, pixels · wider, pixels · wider).

    Args:
        sources: the picture of each crop.
        centre: (n, 2) relative row and column.
        window: side relative to the picture's width.
        pixels: side of a crop.
        wider: factor by which more is cut, at the same resolution, as room for augmentation.
    """
    side = round(pixels * wider)
    cut = np.zeros((len(sources), side, side), np.uint8)
    for index, (source, place) in enumerate(zip(sources, centre, strict=True)):
        step = window * source.shape[1] / pixels
        row, column = place * source.shape[:2] - 0.5 - step * (side - 1) / 2
        matrix = np.array([[step, 0, column], [0, step, row]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cut[index] = cv2.warpAffine(source, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return cut
