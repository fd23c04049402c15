"""The packs of graded real foramina and axial crops → crops with grades, in the graders' own windows.

The packs have no pixel spacing. The scale is inferred from anatomy or from the usual field of view, as the constants
say, and training jitters it; inference cuts in true millimetres.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from evaluation.real_slices import pictures, rows_by
from lumbar_kernel import schema
from lumbar_kernel.grading.crops import FORAMEN_STEP_MM, axial_window, crop_shape, cut_sagittal, cut_stack
from lumbar_kernel.localisation.axial import recesses_on
from lumbar_kernel.localisation.landmarks import CANAL_BEHIND_MARGIN_MM
from lumbar_kernel.localisation.level_decoding import STEP_MM
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.study import Slice
from lumbar_kernel.views import VIEWS, View
from training.examples import WIDER, GradeExample, GradeExamples
from training.fold_checkpoints import FoldCheckpoints
from training.marked_pictures import GRADE_INDEX, LEVEL_INDEX, AxialCrop, axial_crops, marked_slices
from training.single_slice import axial_slice, sagittal_slice

AXIAL_STEP_MM = 4.5
"""Assumed distance of the neighbouring slices of an axial crop; only their order matters."""

MIRRORED_MM = 24.0
"""Width by which the edges of an axial crop are mirrored, so that every window is filled."""

BOX_REACH_MM = 9.0
"""A box belongs to the level of a marked disc margin within this distance; 95 % do."""

SAC_HALF_MM, SAC_MM, DISC_HALF_MM = 9.0, 6.0, 3.0
"""Region of the fluid: half the window across the sac, the brightest part of it, half the height of a disc."""

Stack = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""A crop of neighbouring slices, (slices, rows, columns), and which of them there are."""


@dataclass(frozen=True, eq=False)
class ForaminalSeries:
    """The slices of one T1 series that the pack holds, and the foramina marked on them.

    Attributes:
        slices: instance number → slice, in millimetres that give the mean step between foramina its usual length.
        marks: rows of the pack's table.
    """

    slices: dict[int, Slice]
    marks: pd.DataFrame


def stack_of(slices: Mapping[int, Slice], instance: int, *, count: int) -> tuple[Slice | None, ...]:
    """The stack around one of some slices by instance number; None where a neighbour is missing."""
    return tuple(slices.get(instance + offset) for offset in range(-(count // 2), count // 2 + 1))


def foraminal_series(data: Path) -> Iterator[ForaminalSeries]:
    """The series of `sagittal_t1`, one after the other."""
    pack = data / "sagittal_t1"
    table = pd.read_csv(pack / "points.csv", dtype={"study_id": str})
    table = table[table["label"].isin(GRADE_INDEX)]
    steps = _foramen_steps(table)
    by_name = dict(pictures(pack))
    for (study, _), marks in table.groupby(["study_id", "series_id"], sort=True):
        slices = {}
        for name, rows in rows_by(marks, "image").items():
            if name in by_name:
                first = rows.iloc[0]
                field = FORAMEN_STEP_MM / steps[str(study)] * max(first["rows"], first["columns"])
                size = {"rows": float(first["rows"]), "columns": float(first["columns"])}
                slices[int(first["instance_number"])] = sagittal_slice(by_name[name], **size, field_mm=field)
        yield ForaminalSeries(slices, marks[marks["instance_number"].isin(slices)])


def foramina(data: Path, *, neighbour: bool = False) -> GradeExamples:
    """One stack per marked foramen of `sagittal_t1`; sagittal slices look alike on both sides, so none is mirrored.

    Args:
        data: the folder of packs.
        neighbour: centre each stack on the slice beside the marked one, the lower instance where the pack holds both;
            foramina without any are left out.

    Raises:
        ValueError: there is no foramen to cut.
    """
    view = VIEWS["sagittal_t1"]
    crops = []
    for series in foraminal_series(data):
        for _, mark in series.marks.iterrows():
            marked = int(mark["instance_number"])
            beside = [marked + step for step in (-1, 1) if marked + step in series.slices]
            if neighbour and not beside:
                continue
            stack = stack_of(series.slices, beside[0] if neighbour else marked, count=view.geometry.slices)
            point = mark_point(series.slices[marked], mark)
            crops.append(foraminal_example(cut_sagittal(stack, point, view, wider=WIDER), mark))
    return GradeExamples.of(crops, source="sagittal_t1")


def has_neighbours(data: Path) -> bool:
    """Whether `sagittal_t1` holds a slice beside a marked one."""
    series = ["study_id", "series_id"]
    table = pd.read_csv(data / "sagittal_t1" / "points.csv", usecols=[*series, "instance_number"])
    instances = table.drop_duplicates().sort_values([*series, "instance_number"])
    return bool((instances.groupby(series)["instance_number"].diff() == 1).any())


def mark_point(item: Slice, mark: pd.Series) -> NDArray[np.float64]:
    """A marked foramen in the millimetres of its slice, (3,)."""
    return item.plane.to_mm(np.array([mark["y_rel"], mark["x_rel"]]) * item.plane.shape - 0.5)


def foraminal_example(stack: Stack, mark: pd.Series) -> GradeExample:
    """A stack with the grade of the marked foramen that it shows."""
    grade, level = GRADE_INDEX[mark["label"]], LEVEL_INDEX[mark["level"]]
    return GradeExample(*stack, [grade], level, [mark["row_id"]], mark["study_id"], mark["fold"])


def _foramen_steps(table: pd.DataFrame) -> dict[str, float]:
    """Mean cranio-caudal step of the marked foramina of each study, native pixels; the population's where unknown."""
    level = table["level"].map(LEVEL_INDEX)
    mean = table.assign(level=level).groupby(["study_id", "level"], as_index=False)[["y", "rows"]].mean()
    by_study = rows_by(mean, "study_id")
    steps = {
        study: float(np.polyfit(rows["level"], rows["y"], 1)[0]) for study, rows in by_study.items() if len(rows) >= 3
    }
    relative = np.median(
        [step / table.loc[table["study_id"] == s, "rows"].iloc[0] for s, step in list(steps.items())[:300]]
    )
    usual = {study: float(relative * rows["rows"].iloc[0]) for study, rows in by_study.items()}
    return usual | steps


def axial(
    data: Path, recesses: FoldCheckpoints[HeatmapNet], *, shifted: bool = False, every_fold: bool = False
) -> GradeExamples:
    """Two crops per axial disc-level crop, the right side mirrored; heads are canal and this side's recess.

    Each is cut as the kernel cuts it, at the recesses that it finds.

    Args:
        data: the folder of packs.
        recesses: axial localisers; crops that none of them may predict are left out, unless `every_fold` is set.
        shifted: let a neighbour be the middle slice, the caudal and the cranial one in turn.
        every_fold: cut crops of folds without such a localiser by all that there are, to learn from and not to measure.
    """
    view, crops = VIEWS["axial_t2"], list(axial_crops(data))
    stacks: list[tuple[Slice | None, ...]] = []
    for number, crop in enumerate(crops):
        lower, middle, upper = axial_slices(crop)
        shifts = [(None, lower, middle), (middle, upper, None)]
        stacks.append(shifts[number % 2] if shifted else (lower, middle, upper))
    found: list[GradeExample] = []
    for chosen, nets in recesses.of_rows([crop.fold for crop in crops], others=every_fold):
        items = [stacks[index][1] for index in chosen]
        for index, seen in zip(chosen, recesses_on(items, np.zeros((len(items), 3)), nets), strict=True):
            crop = crops[index]
            window = axial_window(seen, crop.level, view, wider=WIDER)
            images, shown = cut_stack(stacks[index], window, resolution=view.geometry.resolution)
            for side, own in zip(schema.SIDES, (images, images[:, :, ::-1]), strict=True):
                conditions = (schema.CANAL, f"{side}_{schema.SUBARTICULAR}")
                labels = [crop.grades[condition] for condition in conditions]
                rows = [f"{crop.study_id}_{condition}_{schema.LEVELS[crop.level]}" for condition in conditions]
                found.append(GradeExample(own, shown, labels, crop.level, rows, crop.study_id, crop.fold))
    return GradeExamples.of(found, source="axial_t2_crops")


def axial_slices(crop: AxialCrop) -> tuple[Slice, Slice, Slice]:
    """The three neighbouring slices of an axial crop, its middle at the patient's origin, mirrored at its edges."""
    margin = min(round(MIRRORED_MM / crop.mm), *(side - 1 for side in crop.shape))

    def slice_at(index: int) -> Slice:
        mirrored = cv2.copyMakeBorder(crop.slices[index], margin, margin, margin, margin, cv2.BORDER_REFLECT_101)
        return axial_slice(mirrored, mm=crop.mm, cranial=(index - 1) * AXIAL_STEP_MM)

    return slice_at(0), slice_at(1), slice_at(2)


def boxed_canals(data: Path) -> tuple[GradeExamples, NDArray[np.bool_]]:
    """Crops of all marked levels of Sudirman's mid-sagittal T2 slices, not graded, and whether a stenosis box is there.

    Three times the same slice, since the pack has one; the scale comes from the mean step between discs.
    """
    view = VIEWS["sagittal_t2"]
    boxes = pd.read_csv(data / "sudirman_sagittal" / "boxes.csv")
    annotated, narrow = set(boxes["image"]), rows_by(boxes[boxes["finding"] == "stenosis"], "image")
    crops: list[GradeExample] = []
    boxed: list[bool] = []
    for mark in marked_slices(data, "sudirman_sagittal"):
        if mark.weighting != "t2" or mark.name not in annotated:
            continue
        marked = np.flatnonzero(~np.isnan(mark.discs[:, 0]))
        places = mark.discs[marked] * mark.picture.shape
        mm = STEP_MM / np.linalg.norm(np.diff(places, axis=0), axis=1).mean()
        found = narrow.get(mark.name, boxes.iloc[:0])[["y_centre_rel", "x_centre_rel"]].to_numpy() * mark.picture.shape
        for level, place in zip(marked, places, strict=True):
            centre = (place[0] - 0.5, place[1] - 0.5 + CANAL_BEHIND_MARGIN_MM / mm)
            cut = _cut(mark.picture, centre=centre, mm_per_pixel=mm, view=view)
            stack = np.stack([cut] * view.geometry.slices), np.ones(view.geometry.slices, bool)
            crops.append(GradeExample(*stack, [-1], int(level), [""], mark.group, mark.fold))
            boxed.append(bool((np.linalg.norm(found - place, axis=1) * mm < BOX_REACH_MM).any()))
    return GradeExamples.of(crops, source="sudirman_sagittal"), np.array(boxed)


def canal(data: Path) -> GradeExamples:
    """The crops of `boxed_canals` with weak grades: Normal/Mild without a box, by rank of the fluid left with one.

    The readers of that pack boxed three times as many levels as those of the challenge graded narrow, without severity.
    Of each level's boxed crops those with the least fluid get Severe, the next Moderate, the rest Normal/Mild, in such
    numbers that all crops of the level together have the challenge's label shares.
    """
    examples, boxed = boxed_canals(data)
    left, labels = remaining_fluid(examples.images[:, 0]), np.zeros_like(examples.labels)
    for level, counts in enumerate(schema.LABEL_COUNTS[schema.CANAL]):
        at_level = examples.level == level
        severe, moderate = (round(at_level.sum() * counts[grade] / sum(counts)) for grade in (2, 1))
        narrow = np.flatnonzero(at_level & boxed)
        narrow = narrow[np.argsort(left[narrow], kind="stable")]
        labels[narrow[:severe]], labels[narrow[severe : severe + moderate]] = 2, 1
    return replace(examples, labels=labels)


def remaining_fluid(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
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
    picture: NDArray[np.uint8], *, centre: tuple[float, float], mm_per_pixel: float, view: View
) -> NDArray[np.uint8]:
    """A crop around a pixel, `WIDER` than the grader's window, on the grader's spacing; edges are mirrored."""
    rows, columns = crop_shape(view, wider=WIDER)
    scale = view.geometry.spacing / mm_per_pixel
    matrix = np.array(
        [
            [scale, 0, centre[1] - scale * (columns - 1) / 2],
            [0, scale, centre[0] - scale * (rows - 1) / 2],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cut: NDArray[np.uint8] = cv2.warpAffine(
        picture, matrix, (columns, rows), flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )
    return cut
