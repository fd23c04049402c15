"""`Crops` → probabilities by one ensemble member."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumbar_kernel.checks import require_finite
from lumbar_kernel.errors import GradingError
from lumbar_kernel.grading.crops import Crops
from lumbar_kernel.models.grade_net import GradeNet, to_input
from lumbar_kernel.models.inference import run_batch
from lumbar_kernel.schema import CANAL, ROWS, SEVERITIES, row_index
from lumbar_kernel.views import View, level_and_side


def grade(
    crops: Sequence[Crops],
    nets: Sequence[GradeNet],
    *,
    view: View,
    groups: Sequence[str],
    batch_size: int = 64,
) -> NDArray[np.float64]:
    """Grades of several studies by one member.

    Args:
        crops: the view's crops, one entry per study.
        nets: the member's fold checkpoints, whose probabilities are averaged, on the device that grades.
        view: what the crops show.
        groups: condition of each head.
        batch_size: crops graded at once; batches span studies.

    Returns:
        (studies, 25, 3) probabilities, rows as in `schema.ROWS`, NaN where the member cannot grade.

    Raises:
        NotFiniteError: a net gave numbers that are not finite.
    """
    order = level_and_side(view)
    level = torch.tensor([level for level, _ in order]).repeat(len(crops))
    pictures, weights = (np.concatenate([getattr(item, name) for item in crops]) for name in ("images", "slice_weight"))
    predicted = [grade_crops(net, pictures, level, weights, batch_size=batch_size) for net in nets]
    probabilities = np.mean(predicted, axis=0).reshape(len(crops), len(order), len(groups), len(SEVERITIES))
    return np.stack(
        [_to_rows(of_study, item.present, order, groups) for of_study, item in zip(probabilities, crops, strict=True)]
    )


def grade_crops(
    net: GradeNet,
    pictures: NDArray[np.uint8],
    level: Tensor,
    slice_weight: NDArray[np.float32],
    *,
    batch_size: int = 64,
) -> NDArray[np.float64]:
    """Grades of crops by one net; a slice-wise net grades every slice and the slices are averaged by weight.

    Args:
        net: on the device that grades.
        pictures: (n, slices, rows, columns) crops on the canonical side.
        level: (n,) level index of each crop.
        slice_weight: (n, slices) weight of each slice for a net that grades slices one by one.
        batch_size: crops graded at once.

    Returns:
        (n, heads, 3) probabilities.

    Raises:
        NotFiniteError: the net gave numbers that are not finite.
    """
    predicted = []
    for start in range(0, len(pictures), batch_size):
        block = pictures[start : start + batch_size]
        levels = level[start : start + batch_size]
        slices = block.shape[1]
        if net.in_chans == 1:
            block, levels = block.reshape(-1, 1, *block.shape[2:]), levels.repeat_interleave(slices)
        softened = run_batch(net, torch.from_numpy(to_input(block)), levels).softmax(dim=-1).numpy().astype(np.float64)
        if net.in_chans == 1:
            weight = slice_weight[start : start + batch_size]
            softened = np.einsum("ns,nshk->nhk", weight, softened.reshape(-1, slices, *softened.shape[1:]))
        predicted.append(softened)
    probabilities = np.concatenate(predicted)
    require_finite(probabilities)
    return probabilities


def require_graded(probabilities: NDArray[np.float64], crops: Crops, view: View) -> None:
    """Raise GradingError when a member that could see a level left a row of it out, or gave no finite number.

    Args:
        probabilities: (25, 3) of one study.
        crops: what the member saw of it.
        view: what the crops show.
    """
    count = len(level_and_side(view))
    expected = _to_rows(
        np.ones((count, len(view.groups), len(SEVERITIES))), crops.present, level_and_side(view), view.groups
    )
    missing = ~np.isfinite(probabilities).all(axis=1) & np.isfinite(expected).all(axis=1)
    if missing.any():
        msg = f"no finite prediction for {int(missing.sum())} rows, the first {ROWS[int(np.argmax(missing))]}"
        raise GradingError(msg)


def _to_rows(
    probabilities: NDArray[np.float64],
    present: NDArray[np.bool_],
    order: Sequence[tuple[int, int | None]],
    groups: Sequence[str],
) -> NDArray[np.float64]:
    """Crop-wise grades (n, heads, 3) as the 25 rows of a study; a canal seen from both sides is averaged."""
    total, count = np.zeros((len(ROWS), len(SEVERITIES))), np.zeros((len(ROWS), 1))
    for index, (level, side) in enumerate(order):
        if not present[index]:
            continue
        for head, group in enumerate(groups):
            row = row_index(group, level, None if group == CANAL else side)
            total[row] += probabilities[index, head]
            count[row] += 1
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)
