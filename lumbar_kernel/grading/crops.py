"""`Study` + `Landmarks` → crops in millimetres on one canonical side; the very code that training uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.localisation.axial import AxialView
from lumbar_kernel.localisation.landmarks import Landmarks
from lumbar_kernel.resampling import centred_grid, nearest_sagittal, sample, to_bytes, upright_axes, with_neighbours
from lumbar_kernel.schema import (
    AXIAL_T2,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SIDES,
    SUBARTICULAR,
)
from lumbar_kernel.study import Slice, Study
from lumbar_kernel.views import VIEWS, View, level_and_side


@dataclass(frozen=True, eq=False)
class Crops:
    """The crops of one study in one view, in order of level and, where the view is sided, side.

    Attributes:
        images: (n, slices, rows, columns) uint8, n = 5 or 10, canonical side; zero where there is nothing to cut.
        present: (n,) bool, False where the view does not show the level.
        slice_weight: (n, slices) share of each slice in the pooling of slice-wise members, summing to 1.
    """

    images: NDArray[np.uint8]
    present: NDArray[np.bool_]
    slice_weight: NDArray[np.float32]


def blank_crops(view: View) -> Crops:
    """The crops of a study that a view does not show: they keep its place in a batch and get NaN grades."""
    count, geometry = len(level_and_side(view)), view.geometry
    return Crops(
        images=np.zeros((count, geometry.slices, *geometry.shape), np.uint8),
        present=np.zeros(count, bool),
        slice_weight=np.full((count, geometry.slices), 1 / geometry.slices, np.float32),
    )


def cut_crops(
    study: Study, landmarks: Landmarks, axial: Sequence[AxialView | None], *, wider: float = 1.0
) -> dict[str, Crops]:
    """The crops of every view that the study has, `wider` than the member's window by that factor (for training)."""
    crops = {}
    if study.slices(SAGITTAL_T1):
        crops["sagittal_t1"] = _cut_foramina(study.slices(SAGITTAL_T1), landmarks, wider=wider)
    if study.slices(SAGITTAL_T2):
        crops["sagittal_t2"] = _cut_canal(study.slices(SAGITTAL_T2), landmarks, wider=wider)
    if any(view is not None for view in axial):
        crops["axial_t2"] = _cut_axial(study.slices(AXIAL_T2), axial, wider=wider)
    return crops


def cut_slices(
    slices: Sequence[Slice], centre: FloatArray, *, view: View, mirrored: bool = False, wider: float = 1.0
) -> NDArray[np.uint8]:
    """One crop of neighbouring slices around a patient point.

    Args:
        slices: the slices of the crop, in order; the picture axes are those of the middle one.
        centre: mm LPS, shape (3,); projected on each slice.
        view: gives the window; pictures are oriented as radiologists view them.
        mirrored: flip left and right (only ever for an axial right side).
        wider: factor on the window for training, which moves and turns it afterwards.

    Returns:
        (slices, rows, columns) uint8; each slice scaled by its own 0.5th and 99.5th percentile.
    """
    geometry, middle = view.geometry, slices[len(slices) // 2]
    down, right = upright_axes(middle.plane, sagittal=SUBARTICULAR not in view.groups)
    rows, columns = (2 * round(size * wider / 2) for size in geometry.shape)
    grid = centred_grid(centre, down=down, right=right, spacing=geometry.spacing, shape=(rows, columns))
    crop = np.stack([to_bytes(sample(item, grid, resolution=geometry.resolution)) for item in slices])
    return crop[:, :, ::-1] if mirrored else crop


def _cut_foramina(slices: Sequence[Slice], landmarks: Landmarks, *, wider: float) -> Crops:
    view = VIEWS["sagittal_t1"]
    images, weights = [], []
    for level, side in level_and_side(view):
        point = landmarks.foramina[level, side or 0]
        triple = with_neighbours(slices, nearest_sagittal(slices, point))
        images.append(cut_slices(triple, point, view=view, wider=wider))
        weights.append(_slice_weight(triple, point))
    return Crops(np.stack(images), np.ones(len(images), bool), np.stack(weights))


def _slice_weight(slices: Sequence[Slice], point: FloatArray, *, spread_mm: float = 3.0) -> NDArray[np.float32]:
    """Gaussian in the distance of each slice from the landmark; 0 for a repeated slice in place of a missing one."""
    distance = np.array([float(item.plane.distance(point)) for item in slices])
    weight = np.exp(-0.5 * (distance / spread_mm) ** 2)
    middle = len(slices) // 2
    weight = np.where([item is slices[middle] and k != middle for k, item in enumerate(slices)], 0.0, weight)
    weight[middle] = max(weight[middle], 1e-6)
    return np.asarray(weight / weight.sum(), dtype=np.float32)


def _cut_canal(slices: Sequence[Slice], landmarks: Landmarks, *, wider: float) -> Crops:
    view = VIEWS["sagittal_t2"]
    images = []
    for level, _ in level_and_side(view):
        point = landmarks.canal[level]
        triple = with_neighbours(slices, nearest_sagittal(slices, point))
        images.append(cut_slices(triple, point, view=view, wider=wider))
    n, slices_each = len(images), view.geometry.slices
    return Crops(np.stack(images), np.ones(n, bool), np.full((n, slices_each), 1 / slices_each, np.float32))


def _cut_axial(slices: Sequence[Slice], axial: Sequence[AxialView | None], *, wider: float) -> Crops:
    view = VIEWS["axial_t2"]
    rows, columns = (2 * round(size * wider / 2) for size in view.geometry.shape)
    order = level_and_side(view)
    images = np.zeros((len(order), view.geometry.slices, rows, columns), np.uint8)
    present = np.zeros(len(order), bool)
    for index, (level, side) in enumerate(order):
        evidence = axial[level]
        if evidence is None:
            continue
        triple = with_neighbours(slices, evidence.item)
        mirrored = side == SIDES.index("right")
        images[index] = cut_slices(triple, evidence.centre, view=view, mirrored=mirrored, wider=wider)
        present[index] = True
    weight = np.full((len(order), view.geometry.slices), 1 / view.geometry.slices, np.float32)
    return Crops(images, present, weight)
