"""The packs of graded real foramina and axial crops → crops with grades, in the graders' own windows.

The packs have no pixel spacing. The scale is inferred from anatomy or from the usual field of view, as the constants
say, and training jitters it; inference cuts in true millimetres.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.real_slices import pictures
from lumbar_kernel import schema
from lumbar_kernel.localisation.landmarks import CANAL_BEHIND_MARGIN_MM
from lumbar_kernel.localisation.level_decoding import STEP_MM
from lumbar_kernel.views import VIEWS, CropGeometry
from training.examples import WIDER, GradeExamples
from training.packs import AXIAL_FIELD_MM, LEVEL_INDEX

FORAMEN_STEP_MM = 30.0
"""Assumed mean cranio-caudal distance of neighbouring foramina; 28.5 and 29.3 mm on the two labelled studies."""

BOX_REACH_MM = 9.0
"""A box belongs to the level of a marked disc margin within this distance; 95 % do."""

SAC_HALF_MM, SAC_MM, DISC_HALF_MM = 9.0, 6.0, 3.0
"""Region of the fluid: half the window across the sac, the brightest part of it, half the height of a disc."""

GRADE_INDEX = {name: index for index, name in enumerate(schema.SEVERITY_NAMES)}


def foramina(data: Path) -> GradeExamples:
    """One crop per marked foramen of `sagittal_t1`; sagittal slices look alike on both sides, so none is mirrored."""
    pack, geometry = data / "sagittal_t1", VIEWS["sagittal_t1"].geometry
    table = pd.read_csv(pack / "points.csv", dtype={"study_id": str})
    table = table[table["label"].isin(GRADE_INDEX)]
    steps = _foramen_steps(table)
    by_image = dict(iter(table.groupby("image")))
    crops, labels, levels, ids, groups, folds = [], [], [], [], [], []
    for name, picture in pictures(pack):
        for _, row in by_image.get(name, table.iloc[:0]).iterrows():
            mm = FORAMEN_STEP_MM / steps[row["study_id"]]  # of one native pixel
            per_pixel = (mm * row["rows"] / picture.shape[0], mm * row["columns"] / picture.shape[1])
            centre = (row["y_rel"] * picture.shape[0] - 0.5, row["x_rel"] * picture.shape[1] - 0.5)
            crops.append(_cut(picture, centre=centre, mm_per_pixel=per_pixel, geometry=geometry)[None])
            labels.append([GRADE_INDEX[row["label"]]])
            levels.append(LEVEL_INDEX[row["level"]])
            ids.append([row["row_id"]])
            groups.append(row["study_id"])
            folds.append(row["fold"])
    return _grades(crops, labels, levels, ids, groups, folds, source="sagittal_t1")


def _foramen_steps(table: pd.DataFrame) -> dict[str, float]:
    """Mean cranio-caudal step of the marked foramina of each study, native pixels; the population's where unknown."""
    level = table["level"].map(LEVEL_INDEX)
    mean = table.assign(level=level).groupby(["study_id", "level"], as_index=False)[["y", "rows"]].mean()
    steps: dict[str, float] = {}
    for study, rows in mean.groupby("study_id"):
        if len(rows) >= 3:
            steps[study] = float(np.polyfit(rows["level"], rows["y"], 1)[0])
    relative = np.median(
        [step / table.loc[table["study_id"] == s, "rows"].iloc[0] for s, step in list(steps.items())[:300]]
    )
    for study, rows in mean.groupby("study_id"):
        steps.setdefault(study, float(relative * rows["rows"].iloc[0]))
    return steps


def axial(data: Path) -> GradeExamples:
    """Two crops per axial disc-level crop, the right side mirrored; heads are canal and this side's recess."""
    pack, geometry = data / "axial_t2_crops", VIEWS["axial_t2"].geometry
    table = pd.read_csv(pack / "labels.csv", dtype={"study_id": str}).set_index("image")
    crops, labels, levels, ids, groups, folds = [], [], [], [], [], []
    for name, picture in pictures(pack, "crops.zip"):
        row = table.loc[name]
        height, width = picture.shape[0] // 3, picture.shape[1]
        mm = AXIAL_FIELD_MM / row["series_columns"] * row["crop_columns"] / width
        stack = picture[: 3 * height].reshape(3, height, width)
        cut = np.stack(
            [
                _cut(p, centre=((height - 1) / 2, (width - 1) / 2), mm_per_pixel=(mm, mm), geometry=geometry)
                for p in stack
            ]
        )
        for side in schema.SIDES:
            heads = [f"spinal_canal_stenosis_{row['level']}", f"{side}_subarticular_stenosis_{row['level']}"]
            crops.append(cut if side == "left" else cut[:, :, ::-1])
            labels.append([GRADE_INDEX.get(row[head.rsplit("_", 2)[0]], -1) for head in heads])
            levels.append(LEVEL_INDEX[row["level"]])
            ids.append([f"{row['study_id']}_{head}" for head in heads])
            groups.append(row["study_id"])
            folds.append(row["fold"])
    return _grades(crops, labels, levels, ids, groups, folds, source="axial_t2_crops")


def boxed_canals(data: Path) -> tuple[GradeExamples, NDArray[np.bool_]]:
    """Crops of all marked levels of Sudirman's mid-sagittal T2 slices, not graded, and whether a stenosis box is there.

    Three times the same slice, since the pack has one; the scale comes from the mean step between discs.
    """
    pack, geometry = data / "sudirman_sagittal", VIEWS["sagittal_t2"].geometry
    boxes, table = (pd.read_csv(pack / f"{name}.csv") for name in ("boxes", "points"))
    narrow = dict(iter(boxes[boxes["finding"] == "stenosis"].groupby("image")))
    annotated, by_image = set(boxes["image"]), dict(iter(table[table["weighting"] == "t2"].groupby("image")))
    crops, levels, groups, folds, boxed = [], [], [], [], []
    for path, picture in pictures(pack):
        name = Path(path).name
        if name not in annotated or name not in by_image:
            continue
        rows = by_image[name].sort_values("level")
        places = rows[["y_rel", "x_rel"]].to_numpy() * picture.shape
        mm = STEP_MM / np.linalg.norm(np.diff(places, axis=0), axis=1).mean()
        marks = narrow.get(name, boxes.iloc[:0])[["y_centre_rel", "x_centre_rel"]].to_numpy() * picture.shape
        for level, place in zip(rows["level"].map(LEVEL_INDEX), places, strict=True):
            centre = (place[0] - 0.5, place[1] - 0.5 + CANAL_BEHIND_MARGIN_MM / mm)
            cut = _cut(picture, centre=centre, mm_per_pixel=(mm, mm), geometry=geometry)
            crops.append(np.stack([cut] * geometry.slices))
            levels.append(level)
            groups.append(f"sudirman-{rows['patient'].iloc[0]}")
            folds.append(rows["fold"].iloc[0])
            boxed.append(bool((np.linalg.norm(marks - place, axis=1) * mm < BOX_REACH_MM).any()))
    labels, ids = [[-1]] * len(crops), [[""]] * len(crops)
    return _grades(crops, labels, levels, ids, groups, folds, source="sudirman_sagittal"), np.array(boxed)


def canal(data: Path) -> GradeExamples:
    """The crops of `boxed_canals` with weak grades: Normal/Mild without a box, by rank of the fluid left with one.

    The readers of that pack boxed three times as many levels as those of the challenge graded narrow, without severity.
    Of each level's boxed crops those with the least fluid get Severe, the next Moderate, the rest Normal/Mild, in such
    numbers that all crops of the level together have the challenge's label shares.
    """
    examples, boxed = boxed_canals(data)
    left, labels = fluid_left(examples.images[:, 0]), np.zeros_like(examples.labels)
    for level, counts in enumerate(schema.LABEL_COUNTS[schema.CANAL]):
        at_level = examples.level == level
        severe, moderate = (round(at_level.sum() * counts[grade] / sum(counts)) for grade in (2, 1))
        narrow = np.flatnonzero(at_level & boxed)
        narrow = narrow[np.argsort(left[narrow], kind="stable")]
        labels[narrow[:severe]], labels[narrow[severe : severe + moderate]] = 2, 1
    return replace(examples, labels=labels)


def fluid_left(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Brightness of the sac at the disc relative to the brightest height of the same crop, (n, rows, columns) → (n,).

    Fluid is bright on T2; where the sac is crowded the brightest millimetres of a row go dark. On Sudirman's slices
    this alone separates boxes from none with an area under the curve of .87, .86, .84, .79 and .53, L1/L2 to L5/S1.
    """
    mm = VIEWS["sagittal_t2"].geometry.spacing
    middle, half, across = (np.array(crops.shape[1:]) - 1) / 2, SAC_HALF_MM / mm, round(SAC_MM / mm)
    sac = np.sort(crops[:, :, round(middle[1] - half) : round(middle[1] + half) + 1].astype(np.float64), axis=2)
    by_row = sac[:, :, -across:].mean(axis=2)
    at_disc = by_row[:, round(middle[0] - DISC_HALF_MM / mm) : round(middle[0] + DISC_HALF_MM / mm) + 1].min(axis=1)
    return np.asarray(at_disc / np.maximum(by_row.max(axis=1), 1))


def _cut(
    picture: NDArray[np.uint8],
    *,
    centre: tuple[float, float],
    mm_per_pixel: tuple[float, float],
    geometry: CropGeometry,
) -> NDArray[np.uint8]:
    """A crop around a pixel, `WIDER` than the grader's window, on the grader's spacing; edges are mirrored."""
    rows, columns = stored_shape(geometry)
    scale_row, scale_column = (geometry.spacing / mm for mm in mm_per_pixel)
    matrix = np.array(
        [
            [scale_column, 0, centre[1] - scale_column * (columns - 1) / 2],
            [0, scale_row, centre[0] - scale_row * (rows - 1) / 2],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cut: NDArray[np.uint8] = cv2.warpAffine(
        picture, matrix, (columns, rows), flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )
    return cut


def stored_shape(geometry: CropGeometry) -> tuple[int, int]:
    """Rows and columns of a stored crop, `WIDER` than the window, even numbers."""
    rows, columns = geometry.shape
    return 2 * round(rows * WIDER / 2), 2 * round(columns * WIDER / 2)


def _grades(crops, labels, levels, ids, groups, folds, *, source: str) -> GradeExamples:
    return GradeExamples(
        images=np.stack(crops),
        labels=np.array(labels, np.int8),
        level=np.array(levels, np.int8),
        row_id=np.array(ids),
        group=np.array(groups),
        fold=np.array(folds, np.int8),
        source=np.full(len(crops), source),
    )
