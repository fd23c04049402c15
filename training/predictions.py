"""Predictions of the shipped weights for the packs of real slices and crops, through the kernel's own code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from evaluation import real_slices
from lumbar_kernel.grading.crops import cut_slices
from lumbar_kernel.grading.ensemble import SURE
from lumbar_kernel.grading.grader import grade_crops
from lumbar_kernel.models.checkpoints import load_localiser, load_member
from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.manifest import Manifest, WeightsFile
from lumbar_kernel.study import Slice
from lumbar_kernel.views import VIEWS
from training import pack_crops, packs
from training.evaluation_metrics import GradedRows, LocatedPoints, RankedLevels
from training.examples import GradeExamples, without_held_out
from training.single_slice import FIELD_MM, Levels, levels_on, sagittal_slice

Net = TypeVar("Net", bound=nn.Module)
CPU = torch.device("cpu")
MARGINS, FORAMINA = range(5), range(5, 10)


@dataclass(frozen=True)
class FoldCheckpoints(Generic[Net]):
    """Checkpoints with the fold that each was trained without.

    Attributes:
        nets: (fold, net).
        out_of_fold: whether a row may only be predicted by networks trained without its fold.
    """

    nets: tuple[tuple[int, Net], ...]
    out_of_fold: bool

    @classmethod
    def of(cls, files: Sequence[WeightsFile], nets: Sequence[Net], *, out_of_fold: bool) -> FoldCheckpoints[Net]:
        """Loaded checkpoints with their manifest entries."""
        return cls(tuple((file.fold, net) for file, net in zip(files, nets, strict=True)), out_of_fold)

    def of_rows(self, fold: NDArray[np.int8]) -> Iterator[tuple[NDArray[np.intp], list[Net]]]:
        """Indices of rows with the networks that may predict them; rows without any are left out."""
        if not self.out_of_fold:
            yield np.arange(len(fold)), [net for _, net in self.nets]
            return
        for value in np.unique(fold):
            if nets := [net for net_fold, net in self.nets if net_fold == value]:
                yield np.flatnonzero(fold == value), nets


def localiser_checkpoints(manifest: Manifest, *, out_of_fold: bool) -> FoldCheckpoints[HeatmapNet]:
    """The sagittal localisers."""
    nets = load_localiser(manifest.sagittal, manifest.folder, device=CPU)
    return FoldCheckpoints.of(manifest.sagittal.files, nets, out_of_fold=out_of_fold)


def window_grades(net: GradeNet, examples: GradeExamples, shape: tuple[int, int]) -> NDArray[np.float64]:
    """One net's probabilities for the middle of stored crops, which are wider than its window, (n, heads, 3)."""
    top, left = ((have - want) // 2 for have, want in zip(examples.images.shape[2:], shape, strict=True))
    pictures = examples.images[:, :, top : top + shape[0], left : left + shape[1]]
    weight = np.full(pictures.shape[:2], 1 / pictures.shape[1], np.float32)
    level = torch.from_numpy(examples.level.astype(np.int64))
    return grade_crops(net, pictures, level, weight)


def member_grades(
    manifest: Manifest, view: str, examples: GradeExamples, *, out_of_fold: bool
) -> dict[str, NDArray[np.float64]]:
    """Probabilities of each member of a view for stored crops, (n, heads, 3); NaN where no network may be used."""
    predicted = {}
    for spec in (item for item in manifest.members if item.view == view):
        nets = load_member(spec, manifest.folder, device=CPU)
        shown = slices_for(examples, spec.in_chans)
        probabilities = np.full((len(examples.images), len(VIEWS[view].groups), 3), np.nan)
        for rows, usable in FoldCheckpoints.of(spec.files, nets, out_of_fold=out_of_fold).of_rows(examples.fold):
            part = _rows(shown, rows)
            grades = [window_grades(net, part, VIEWS[view].geometry.shape) for net in usable]
            probabilities[rows] = np.mean(grades, axis=0)
        predicted[spec.name] = probabilities
    return predicted


def slices_for(examples: GradeExamples, in_chans: int) -> GradeExamples:
    """The examples with as many slices as the network takes at once, the middle one if it takes one."""
    first = (examples.images.shape[1] - in_chans) // 2
    return GradeExamples(**{**examples.__dict__, "images": examples.images[:, first : first + in_chans]})


def _rows(examples: GradeExamples, chosen: NDArray[np.intp]) -> GradeExamples:
    return GradeExamples(**{name: values[chosen] for name, values in examples.__dict__.items()})


def rows_of_head(examples: GradeExamples, predicted: NDArray[np.float64], head: int) -> GradedRows:
    """Rows of one head with a label and a prediction (n, 3); crops of both sides that share a row are averaged."""
    usable = np.flatnonzero((examples.labels[:, head] >= 0) & ~np.isnan(predicted[:, 0]))
    row_id, first, which = np.unique(examples.row_id[usable, head], return_index=True, return_inverse=True)
    mean = np.stack([np.bincount(which, predicted[usable, k]) for k in range(3)], axis=1) / np.bincount(which)[:, None]
    chosen = usable[first]
    return GradedRows(row_id, examples.group[chosen], examples.fold[chosen], examples.labels[chosen, head], mean)


def marked_foramina(data: Path) -> GradeExamples:
    """The crops of `sagittal_t1` at the marked points."""
    return without_held_out(pack_crops.foramina(data))


def axial_crops(data: Path) -> GradeExamples:
    """The crops of `axial_t2_crops`, both sides of each."""
    return without_held_out(pack_crops.axial(data))


def boxed_canals(manifest: Manifest, data: Path, *, out_of_fold: bool) -> RankedLevels:
    """Sudirman's levels with and without a stenosis box, with the narrowing that sagittal T2 members predict."""
    examples, boxed = pack_crops.boxed_canals(data)
    predicted = member_grades(manifest, "sagittal_t2", examples, out_of_fold=out_of_fold)
    narrowing = np.mean([grades[:, 0, 1:].sum(axis=1) for grades in predicted.values()], axis=0)
    usable = ~np.isnan(narrowing)
    return RankedLevels(examples.group[usable], examples.level[usable], boxed[usable], narrowing[usable])


@dataclass(frozen=True, eq=False)
class LocalisedForamina:
    """Marked foramina of `sagittal_t1` as the kernel localises them on the whole slice.

    Attributes:
        located: distances to the marks.
        crops: at the localised points, scaled by the steps between them.
        confidence: row id → confidence in the place, 0..1; the rest of the weight goes to the prior.
    """

    located: LocatedPoints
    crops: GradeExamples
    confidence: dict[str, float]


def foramina_by_kernel(data: Path, checkpoints: FoldCheckpoints[HeatmapNet]) -> LocalisedForamina:
    """Localise the marked foramina of `sagittal_t1` on the whole slices."""
    table = pd.read_csv(data / "sagittal_t1" / "points.csv", dtype={"study_id": str})
    by_image = dict(iter(table.groupby("image")))
    pictures = [(name, picture) for name, picture in real_slices.pictures(data / "sagittal_t1") if name in by_image]
    first = [by_image[name].iloc[0] for name, _ in pictures]
    slices = [
        sagittal_slice(p, rows=float(f["rows"]), columns=float(f["columns"]))
        for (_, p), f in zip(pictures, first, strict=True)
    ]
    entries: list[tuple] = []
    for chosen, nets in checkpoints.of_rows(np.array([f["fold"] for f in first], np.int8)):
        for index, levels in zip(chosen, levels_on([slices[k] for k in chosen], nets, channels=FORAMINA), strict=True):
            name, picture = pictures[index]
            scaled = _usual_scale(picture, first[index], levels)
            for _, mark in by_image[name].iterrows():
                entries.append(_compare(mark, levels, scaled))
    distance, right, confidence, crops, labels, level, row_id, group, fold = zip(*entries, strict=True)
    examples = GradeExamples(
        images=np.stack(crops)[:, None],
        labels=np.array(labels, np.int8)[:, None],
        level=np.array(level, np.int8),
        row_id=np.array(row_id)[:, None],
        group=np.array(group),
        fold=np.array(fold, np.int8),
        source=np.full(len(crops), "sagittal_t1"),
    )
    located = LocatedPoints(np.array(group), np.array(distance), np.array(right))
    return LocalisedForamina(located, without_held_out(examples), dict(zip(row_id, confidence, strict=True)))


def _usual_scale(picture: NDArray[np.uint8], first: pd.Series, levels: Levels | None) -> Slice:
    """The slice with millimetres that give the mean step between its foramina its usual length."""
    field = FIELD_MM
    if levels is not None and levels.step_mm is not None:
        field *= pack_crops.FORAMEN_STEP_MM / levels.step_mm
    return sagittal_slice(picture, rows=float(first["rows"]), columns=float(first["columns"]), field_mm=field)


def _compare(mark: pd.Series, levels: Levels | None, item: Slice) -> tuple:
    """One mark compared with the localisation: distance, level, confidence, crop and the columns of an example."""
    level, shape = packs.LEVEL_INDEX[mark["level"]], np.array(item.plane.shape)
    place = np.array([mark["y_rel"], mark["x_rel"]])
    at, distance, right, confidence = np.full(2, 0.5), np.inf, False, 0.0
    if levels is not None:
        offsets = np.linalg.norm(levels.points - place, axis=1)
        at, distance, right = levels.points[level], float(offsets[level]), int(offsets.argmin()) == level
        confidence = float(np.clip(levels.confidence[level] / SURE, 0, 1))
    view = VIEWS["sagittal_t1"]
    crop = cut_slices([item], item.plane.to_mm(at * shape - 0.5), view=view)[0]
    label = pack_crops.GRADE_INDEX.get(mark["label"], -1)
    return distance, right, confidence, crop, label, level, mark["row_id"], mark["study_id"], mark["fold"]


def midsagittal_by_kernel(
    data: Path, pack: str, weighting: str, checkpoints: FoldCheckpoints[HeatmapNet]
) -> LocatedPoints | None:
    """Disc margins of a pack of mid-sagittal slices found by the kernel; None when the pack does not exist."""
    if not (data / pack).is_dir():
        return None
    marks = PACK_READERS[pack](data, pack, weighting)
    fold = np.array([entry.fold for entry in marks], np.int8)
    group, distance, right = [], [], []
    for chosen, nets in checkpoints.of_rows(fold):
        slices = [sagittal_slice(marks[k].picture, rows=marks[k].rows, columns=marks[k].columns) for k in chosen]
        for index, levels in zip(chosen, levels_on(slices, nets, channels=MARGINS), strict=True):
            mark = marks[index]
            for level in np.flatnonzero(~np.isnan(mark.points[:, 0])):
                offset = np.full((5, 2), np.inf) if levels is None else levels.points - mark.points[level]
                off = np.abs(offset[:, 0]) if mark.height_only else np.linalg.norm(offset, axis=1)
                group.append(mark.group)
                distance.append(float(off[level]))
                right.append(levels is not None and int(off.argmin()) == level)
    return LocatedPoints(np.array(group), np.array(distance), np.array(right)) if group else None


@dataclass(frozen=True, eq=False)
class MarkedSlice:
    """A mid-sagittal picture with marked discs.

    Attributes:
        picture: grey pixels.
        rows: height of the original in square pixels.
        columns: its width.
        points: (5, 2) relative row and column, NaN where not marked.
        group: patient.
        fold: of the patient.
        height_only: whether the marks show another point of the disc, so that only heights can be compared.
    """

    picture: NDArray[np.uint8]
    rows: float
    columns: float
    points: NDArray[np.float64]
    group: str
    fold: int
    height_only: bool = False


def _read_margins(data: Path, pack: str, weighting: str) -> list[MarkedSlice]:
    table = pd.read_csv(data / pack / "points.csv")
    by_image = dict(iter(table[table["weighting"] == weighting].groupby("image")))
    marks = []
    for name, picture in real_slices.pictures(data / pack):
        rows = by_image.get(Path(name).name)
        if rows is not None:
            first = rows.iloc[0]
            points = _by_level(rows["level"], rows["y_rel"], rows["x_rel"])
            size = real_slices.true_size(picture, pack)
            marks.append(MarkedSlice(picture, *size, points, f"{pack}-{first['patient']}", int(first["fold"])))
    return marks


def _read_tianchi(data: Path, pack: str, weighting: str) -> list[MarkedSlice]:
    table = pd.read_csv(data / pack / "points.csv")
    discs = table[(table["kind"] == "disc") & table["level"].isin(packs.LEVEL_INDEX)]
    by_image = dict(iter(discs.groupby("image")))
    marks = []
    for name, picture in real_slices.pictures(data / pack):
        rows = by_image.get(Path(name).name)
        if rows is not None and weighting == "t2":
            first = rows.iloc[0]
            height, width = float(first["rows"]), float(first["columns"])
            points = _by_level(rows["level"], (rows["y"] + 0.5) / height, (rows["x"] + 0.5) / width)
            marks.append(MarkedSlice(picture, height, width, points, name, int(first["fold"]), height_only=True))
    return marks


def _read_space(data: Path, _pack: str, weighting: str) -> list[MarkedSlice]:
    if weighting != "t2":
        return []
    return [
        MarkedSlice(s.picture, *s.picture.shape, (s.margins + 0.5) / np.array(s.picture.shape), s.group, s.fold)
        for s in packs.space_slices(data)
    ]


def _by_level(levels: pd.Series, row: pd.Series, column: pd.Series) -> NDArray[np.float64]:
    points = np.full((5, 2), np.nan)
    points[levels.map(packs.LEVEL_INDEX)] = np.stack([row, column], axis=1)
    return points


PACK_READERS = {
    "spider_midsagittal": _read_margins,
    "sudirman_sagittal": _read_margins,
    "tianchi_t2": _read_tianchi,
    "spider_t2": _read_space,
}
"""The packs with marked discs, and the function that reads each."""
