"""`Crops` → probabilities by one ensemble member."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumbar_kernel.checks import require_finite
from lumbar_kernel.errors import GradingError
from lumbar_kernel.grading.crops import Crops
from lumbar_kernel.models.checkpoints import LoadedModels
from lumbar_kernel.models.grade_net import GradeNet, to_input
from lumbar_kernel.models.inference import batches, run_batch
from lumbar_kernel.schema import ROWS, SEVERITIES, row_index
from lumbar_kernel.views import VIEWS, View, level_and_side


def grade(crops: Sequence[Crops], nets: Sequence[GradeNet], *, view: View) -> NDArray[np.float64]:
    """Grades of several studies by one member.

    Args:
        crops: the view's crops, one entry per study.
        nets: the member's fold checkpoints, whose probabilities are averaged, on the device that grades.
        view: what the crops show, which names the condition of each head.

    Returns:
        (studies, 25, 3) probabilities, rows as in `schema.ROWS`, NaN where the member cannot grade.

    Raises:
        NotFiniteError: a net gave numbers that are not finite.
    """
    level = torch.tensor([level for level, _ in level_and_side(view)]).repeat(len(crops))
    images = np.concatenate([item.images for item in crops])  # batches span studies
    predicted = grade_crops(nets, images, level, np.concatenate([item.shown for item in crops]))
    of_studies = predicted.reshape(len(crops), -1, *predicted.shape[1:])
    return np.stack([_to_rows(own, item.present, view) for own, item in zip(of_studies, crops, strict=True)])


def grade_by_member(crops: Mapping[str, Crops], models: LoadedModels) -> dict[str, NDArray[np.float64]]:
    """Grades of one study by every member whose view it shows: member → (25, 3), as `grade` gives them."""
    graded = {}
    for spec in models.manifest.members:
        if spec.view in crops and spec.name in models.members:
            graded[spec.name] = grade([crops[spec.view]], models.members[spec.name], view=VIEWS[spec.view])[0]
    return graded


def grade_crops(
    nets: Sequence[GradeNet], images: NDArray[np.uint8], level: Tensor, shown: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Grades of crops, averaged over nets.

    Args:
        nets: of one architecture, on the device that grades; they take the middle slices of a crop, or pool all.
        images: (n, slices, rows, columns) crops on the canonical side.
        level: (n,) level index of each crop.
        shown: (n, slices) bool, which slices there are.

    Returns:
        (n, heads, 3) probabilities.

    Raises:
        NotFiniteError: a net gave numbers that are not finite.
    """
    in_chans = nets[0].in_chans
    used = slices_used(in_chans, images.shape[1])
    images, shown = images[:, used], shown[:, used]
    predicted = []
    at_once = images.shape[1] if in_chans == 1 else 1
    for block in batches(len(images), pixels=math.prod(images.shape[2:]), net=nets[0], images=at_once):
        scaled = torch.from_numpy(to_input(images[block], in_chans=in_chans))
        inputs = (scaled, level[block], torch.from_numpy(shown[block]))
        by_net = run_batch(nets, *inputs, combine=partial(torch.stack, dim=1)).softmax(dim=-1)
        predicted.append(by_net.numpy().astype(np.float64).mean(axis=1))
    probabilities = np.concatenate(predicted)
    require_finite(probabilities)
    return probabilities


def slices_used(in_chans: int, slices: int) -> slice:
    """Which of a crop's slices a net takes: the middle `in_chans`, or all where it pools slices one by one."""
    first = (slices - in_chans) // 2 if in_chans > 1 else 0
    return slice(first, slices - first)


def require_graded(probabilities: NDArray[np.float64], crops: Crops, view: View) -> None:
    """Raise GradingError when a member that could see a level left a row of it out, or gave no finite number.

    Args:
        probabilities: (25, 3) of one study.
        crops: what the member saw of it.
        view: what the crops show.
    """
    everything = np.ones((len(crops.present), len(view.groups), len(SEVERITIES)))
    expected = _to_rows(everything, crops.present, view)
    missing = ~np.isfinite(probabilities).all(axis=1) & np.isfinite(expected).all(axis=1)
    if missing.any():
        msg = f"no finite prediction for {int(missing.sum())} rows, the first {ROWS[int(np.argmax(missing))]}"
        raise GradingError(msg)


def _to_rows(probabilities: NDArray[np.float64], present: NDArray[np.bool_], view: View) -> NDArray[np.float64]:
    """Crop-wise grades (n, heads, 3) as the 25 rows of a study; what has no side but is seen from both is averaged."""
    total, count = np.zeros((len(ROWS), len(SEVERITIES))), np.zeros((len(ROWS), 1))
    for index, (level, side) in enumerate(level_and_side(view)):
        if not present[index]:
            continue
        for head, group in enumerate(view.groups):
            row = row_index(group, level, side)
            total[row] += probabilities[index, head]
            count[row] += 1
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)
