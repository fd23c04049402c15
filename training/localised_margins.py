"""The marked disc margins of the packs' mid-sagittal slices as the kernel finds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lumbar_kernel.localisation.slice_maps import MARGINS
from lumbar_kernel.models.heatmap_net import HeatmapNet
from lumbar_kernel.schema import LEVELS
from training.evaluation_metrics import LocatedPoints
from training.fold_checkpoints import FoldCheckpoints
from training.marked_pictures import marked_slices
from training.single_slice import levels_on, sagittal_slice


def localised_margins(
    data: Path, pack: str, weighting: str, checkpoints: FoldCheckpoints[HeatmapNet]
) -> LocatedPoints | None:
    """Disc margins of a pack of mid-sagittal slices found by the kernel; None when the pack does not exist.

    Where the pack marks the middle of each disc, heights alone are compared.
    """
    if not (data / pack).is_dir():
        return None
    marks = [mark for mark in marked_slices(data, pack) if mark.weighting == weighting]
    group, distance, right = [], [], []
    for chosen, nets in checkpoints.of_rows([mark.fold for mark in marks]):
        slices = [sagittal_slice(marks[k].picture, rows=marks[k].rows, columns=marks[k].columns) for k in chosen]
        for index, levels in zip(chosen, levels_on(slices, nets, channels=MARGINS), strict=True):
            mark = marks[index]
            for level in np.flatnonzero(~np.isnan(mark.discs[:, 0])):
                offset = np.full((len(LEVELS), 2), np.inf) if levels is None else levels.points - mark.discs[level]
                off = np.abs(offset[:, 0]) if mark.centres else np.linalg.norm(offset, axis=1)
                group.append(mark.group)
                distance.append(float(off[level]))
                right.append(levels is not None and int(off.argmin()) == level)
    return LocatedPoints(np.array(group), np.array(distance), np.array(right)) if group else None
