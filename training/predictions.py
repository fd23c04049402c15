"""Predictions of graders and members for stored crops, through the kernel's own code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from evaluation.array_rows import select
from lumbar_kernel.grading.grader import grade_crops
from lumbar_kernel.models.checkpoints import load_member
from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.models.manifest import Manifest
from lumbar_kernel.schema import SEVERITIES
from lumbar_kernel.views import VIEWS
from training.evaluation_metrics import GradedRows
from training.examples import GradeExamples, windows
from training.fold_checkpoints import FoldCheckpoints


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
        probabilities = np.full((len(examples.images), len(VIEWS[view].groups), len(SEVERITIES)), np.nan)
        for rows, usable in FoldCheckpoints.of(spec.files, nets, out_of_fold=out_of_fold).of_rows(examples.fold):
            probabilities[rows] = window_grades(usable, select(examples, rows), VIEWS[view].geometry.shape)
        predicted[spec.name] = probabilities
    return predicted


def rows_of_head(examples: GradeExamples, predicted: NDArray[np.float64], head: int) -> GradedRows:
    """Rows of one head with a label and a prediction (n, 3); crops of both sides that share a row are averaged."""
    usable = np.flatnonzero((examples.labels[:, head] >= 0) & ~np.isnan(predicted[:, 0]))
    row_id, first, which = np.unique(examples.row_id[usable, head], return_index=True, return_inverse=True)
    total = np.stack([np.bincount(which, weights) for weights in predicted[usable].T], axis=1)
    mean = total / np.bincount(which)[:, None]
    chosen = usable[first]
    return GradedRows(row_id, examples.group[chosen], examples.fold[chosen], examples.labels[chosen, head], mean)
