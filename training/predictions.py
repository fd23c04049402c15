"""Predictions of the shipped weights for the packs of real slices and crops, through the kernel's own code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.array_rows import select
from lumbar_kernel.grading.grader import grade_crops
from lumbar_kernel.localisation.slice_maps import MARGINS
from lumbar_kernel.models.checkpoints import load_member
from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.models.manifest import Manifest
from lumbar_kernel.views import VIEWS
from training import pack_crops
from training.evaluation_metrics import GradedRows, LocatedPoints, RankedLevels
from training.examples import GradeExamples, windows
from training.fold_checkpoints import FoldCheckpoints
from training.marked_pictures import marked_slices
from training.single_slice import levels_on, sagittal_slice


def window_grades(nets: Sequence[GradeNet], examples: GradeExamples, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Mean probabilities of nets for the middle of crops, which may be wider than their window, (n, heads, 3)."""
    pictures = windows(examples.images, shape)
    return grade_crops(nets, pictures, torch.from_numpy(examples.level.astype(np.int64)), examples.shown)


def member_grades(
    manifest: Manifest, view: str, examples: GradeExamples, *, out_of_fold: bool
) -> dict[str, NDArray[np.float64]]:
    """Probabilities of each member of a view for stored crops, (n, heads, 3); NaN where no network may be used."""
    predicted = {}
    for spec in (item for item in manifest.members if item.view == view):
        nets = load_member(spec, manifest.folder)
        probabilities = np.full((len(examples.images), len(VIEWS[view].groups), 3), np.nan)
        for rows, usable in FoldCheckpoints.of(spec.files, nets, out_of_fold=out_of_fold).of_rows(examples.fold):
            probabilities[rows] = window_grades(usable, select(examples, rows), VIEWS[view].geometry.shape)
        predicted[spec.name] = probabilities
    return predicted


def rows_of_head(examples: GradeExamples, predicted: NDArray[np.float64], head: int) -> GradedRows:
    """Rows of one head with a label and a prediction (n, 3); crops of both sides that share a row are averaged."""
    usable = np.flatnonzero((examples.labels[:, head] >= 0) & ~np.isnan(predicted[:, 0]))
    row_id, first, which = np.unique(examples.row_id[usable, head], return_index=True, return_inverse=True)
    mean = np.stack([np.bincount(which, predicted[usable, k]) for k in range(3)], axis=1) / np.bincount(which)[:, None]
    chosen = usable[first]
    return GradedRows(row_id, examples.group[chosen], examples.fold[chosen], examples.labels[chosen, head], mean)


def boxed_canals(manifest: Manifest, data: Path, *, out_of_fold: bool) -> RankedLevels:
    """Sudirman's levels with and without a stenosis box, with the narrowing that sagittal T2 members predict."""
    examples, boxed = pack_crops.boxed_canals(data)
    predicted = member_grades(manifest, "sagittal_t2", examples, out_of_fold=out_of_fold)
    narrowing = np.mean([grades[:, 0, 1:].sum(axis=1) for grades in predicted.values()], axis=0)
    usable = ~np.isnan(narrowing)
    return RankedLevels(examples.group[usable], examples.level[usable], boxed[usable], narrowing[usable])


def midsagittal_by_kernel(
    data: Path, pack: str, weighting: str, checkpoints: FoldCheckpoints[HeatmapNet]
) -> LocatedPoints | None:
    """Disc margins of a pack of mid-sagittal slices found by the kernel; None when the pack does not exist.

    Where the pack marks the middle of each disc, heights alone are compared.
    """
    if not (data / pack).is_dir():
        return None
    marks = [mark for mark in marked_slices(data, pack) if mark.weighting == weighting]
    fold = np.array([entry.fold for entry in marks], np.int8)
    group, distance, right = [], [], []
    for chosen, nets in checkpoints.of_rows(fold):
        slices = [sagittal_slice(marks[k].picture, rows=marks[k].rows, columns=marks[k].columns) for k in chosen]
        for index, levels in zip(chosen, levels_on(slices, nets, channels=MARGINS), strict=True):
            mark = marks[index]
            for level in np.flatnonzero(~np.isnan(mark.discs[:, 0])):
                offset = np.full((5, 2), np.inf) if levels is None else levels.points - mark.discs[level]
                off = np.abs(offset[:, 0]) if mark.centres else np.linalg.norm(offset, axis=1)
                group.append(mark.group)
                distance.append(float(off[level]))
                right.append(levels is not None and int(off.argmin()) == level)
    return LocatedPoints(np.array(group), np.array(distance), np.array(right)) if group else None
