"""`Study` + `Landmarks` → crops in millimetres on one canonical side; the very code that training uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import CRANIAL, SlicePlane
from lumbar_kernel.grids import centred_grid, upright_axes, upright_grid
from lumbar_kernel.intensities import to_bytes
from lumbar_kernel.localisation.axial import AxialLevel
from lumbar_kernel.localisation.landmarks import Landmarks
from lumbar_kernel.resampling import sample
from lumbar_kernel.schema import AXIAL_T2, LEVELS, SAGITTAL_T1, SAGITTAL_T2, SIDES, per_level
from lumbar_kernel.slice_choice import sagittal_showing, stack_around
from lumbar_kernel.study import Series, Slice, Study
from lumbar_kernel.views import BASIC_VIEWS, CANALS, DISCS, FORAMINA, VIEWS, View, level_and_side

FORAMEN_STEP_MM = 30.0
"""Mean cranio-caudal distance of neighbouring foramina in every foraminal crop: each study is scaled to it, since the
public slices to train on have no pixel spacing. 29.6 and 26.3 mm in the two labelled studies."""

FORAMEN_SCALE = (0.7, 1.5)
"""Range of that scale; a step outside of it is a wrong level rather than a short or tall patient."""

RECESS_DISTANCE_MM = per_level(17.1, 16.0, 15.1, 14.0, 14.8)
"""Distance of the two recess points in every axial crop, L1/L2 first: the mean of 883 marked pairs of public crops."""

RECESS_SCALE = (0.75, 1.33)
"""Range of the scale that brings a pair to this distance."""

MAX_TURN = float(np.radians(20))
"""Largest angle by which an axial crop is turned to bring its recesses to one height."""


@dataclass(frozen=True, eq=False)
class Crops:
    """The crops of one study in one view, in order of level and, where the view is sided, side.

    Attributes:
        images: (n, slices, rows, columns) uint8, canonical side; zero where there is nothing to cut.
        present: (n,) bool, False where the view does not show the level, or its slice holds nothing there.
        shown: (n, slices) bool, False for a missing slice, whose place in `images` the middle slice takes.
    """

    images: NDArray[np.uint8]
    present: NDArray[np.bool_]
    shown: NDArray[np.bool_]


def blank_crops(view: View, *, wider: float = 1.0) -> Crops:
    """The crops of a study that a view does not show: they keep its place in a batch and get NaN grades."""
    count, slices = len(level_and_side(view)), view.geometry.slices
    return Crops(
        images=np.zeros((count, slices, *crop_shape(view, wider=wider)), np.uint8),
        present=np.zeros(count, bool),
        shown=np.ones((count, slices), bool),
    )


def cut_crops(
    study: Study,
    landmarks: Landmarks,
    axial: Sequence[AxialLevel | None],
    *,
    views: Iterable[str] = BASIC_VIEWS,
    wider: float = 1.0,
) -> dict[str, Crops]:
    """The crops of those views that the study shows.

    Args:
        study: with its slices.
        landmarks: of the study.
        axial: evidence of each level, None where there is none.
        views: keys of `views.VIEWS`.
        wider: factor on the members' windows, for training.

    Raises:
        ValueError: a view has a centre that nothing is cut around here.
    """
    crops = {}
    for name in views:
        view = VIEWS[name]
        if view.centred_on == DISCS:
            if any(item is not None for item in axial):
                crops[name] = _cut_axial(study.series_of(AXIAL_T2), axial, view, wider=wider)
        elif view.centred_on == FORAMINA:
            if series := study.series_of(SAGITTAL_T1):
                points = [landmarks.foramina[level, side or 0] for level, side in level_and_side(view)]
                crops[name] = _cut_sagittal(
                    series, points, view, scale=foraminal_scale(landmarks.foramina), wider=wider
                )
        elif view.centred_on == CANALS:
            if series := study.series_of(SAGITTAL_T2):
                points = [landmarks.canal[level] for level, _ in level_and_side(view)]
                crops[name] = _cut_sagittal(series, points, view, scale=1.0, wider=wider)
        else:
            msg = f"no crops are centred on {view.centred_on!r}"
            raise ValueError(msg)
    return crops


def cut_stack(
    stack: Sequence[Slice | None], window: SlicePlane, *, resolution: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """One crop of neighbouring slices.

    Args:
        stack: the slices of the crop in order, None where one is missing but never in the middle.
        window: where to sample; projected on each slice.
        resolution: finest detail kept, mm.

    Returns:
        (slices, rows, columns) uint8, each slice scaled by its own 0.5th and 99.5th percentile and a missing one
        replaced by the middle one; and (slices,) bool, which slices there are.
    """
    shown = np.array([item is not None for item in stack])
    cut = {
        index: to_bytes(sample(item, window, resolution=resolution))
        for index, item in enumerate(stack)
        if item is not None
    }
    return np.stack([cut.get(index, cut[len(stack) // 2]) for index in range(len(stack))]), shown


def cut_sagittal(
    stack: Sequence[Slice | None], point: FloatArray, view: View, *, scale: float = 1.0, wider: float = 1.0
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A stack of sagittal slices cut around a point (3,) mm LPS of its middle one, as from `cut_stack`.

    Raises:
        ValueError: the middle slice is missing.
    """
    middle = stack[len(stack) // 2]
    if middle is None:
        msg = "a stack needs its middle slice"
        raise ValueError(msg)
    window = sagittal_window(middle, point, view, scale=scale, wider=wider)
    return cut_stack(stack, window, resolution=view.geometry.resolution_of(max(middle.plane.extent_mm)))


def crop_shape(view: View, *, wider: float = 1.0) -> tuple[int, int]:
    """Rows and columns of a crop that is wider than the member's window by a factor, even numbers."""
    rows, columns = view.geometry.shape
    return 2 * round(rows * wider / 2), 2 * round(columns * wider / 2)


def sagittal_window(
    item: Slice, centre: FloatArray, view: View, *, scale: float = 1.0, wider: float = 1.0
) -> SlicePlane:
    """The window of a sagittal view around a point (3,) mm LPS, as radiologists view it; `scale` widens it."""
    spacing, shape = view.geometry.spacing * scale, crop_shape(view, wider=wider)
    return upright_grid(item.plane, centre, sagittal=True, spacing=spacing, shape=shape)


def axial_window(found: AxialLevel, level: int, view: View, *, wider: float = 1.0) -> SlicePlane:
    """The window midway between the recesses of a level, turned and scaled so that they lie at their usual places.

    Where a recess was placed by geometry alone the window is neither turned nor scaled.
    """
    down, right = upright_axes(found.item.plane, sagittal=False)
    turn, scale = 0.0, 1.0
    if (found.evidence > 0).all():
        left_of_right = found.recesses[0] - found.recesses[1]
        along, below = float(left_of_right @ right), float(left_of_right @ down)
        turn = float(np.clip(np.arctan2(below, along), -MAX_TURN, MAX_TURN))
        scale = float(np.clip(np.hypot(along, below) / RECESS_DISTANCE_MM[level], *RECESS_SCALE))
    return centred_grid(
        found.centre,
        down=np.cos(turn) * down - np.sin(turn) * right,
        right=np.cos(turn) * right + np.sin(turn) * down,
        spacing=view.geometry.spacing * scale,
        shape=crop_shape(view, wider=wider),
    )


def foraminal_scale(foramina: FloatArray) -> float:
    """What one millimetre of a foraminal crop is in the patient, from the mean step between foramina (5, 2, 3) mm."""
    height = foramina.mean(axis=1) @ CRANIAL
    step = -float(np.polyfit(np.arange(len(LEVELS)), height, 1)[0])
    return float(np.clip(step / FORAMEN_STEP_MM, *FORAMEN_SCALE))


def _cut_sagittal(
    series: Sequence[Series], points: Sequence[FloatArray], view: View, *, scale: float, wider: float
) -> Crops:
    """A stack around the slice that shows each point; none where no slice does."""
    crops = blank_crops(view, wider=wider)
    slices = [item for each in series for item in each.slices]
    for index, point in enumerate(points):
        if (middle := sagittal_showing(slices, point)) is not None:
            stack = _stack_of(series, middle, point, count=view.geometry.slices)
            crops.images[index], crops.shown[index] = cut_sagittal(stack, point, view, scale=scale, wider=wider)
            crops.present[index] = _holds_something(crops.images[index])
    return crops


def _stack_of(series: Sequence[Series], item: Slice, point: FloatArray, *, count: int) -> tuple[Slice | None, ...]:
    """The stack around a slice: of its own series, continued by slices of others whose frame contains the point.

    A neighbour without any signal is missing.
    """
    own, others = [], []
    for each in series:
        if any(other is item for other in each.slices):
            own = list(each.slices)
        else:
            others += [other for other in each.slices if other.plane.shows(point)]
    stack = stack_around(own, item, count=count, others=others)
    return tuple(None if other is None or (other is not item and other.is_blank) else other for other in stack)


def _cut_axial(series: Sequence[Series], axial: Sequence[AxialLevel | None], view: View, *, wider: float) -> Crops:
    """A stack around the axial slice of each level, mirrored for the right side."""
    crops = blank_crops(view, wider=wider)
    cut: dict[int, tuple[NDArray[np.uint8], NDArray[np.bool_]]] = {}
    for level, evidence in enumerate(axial):
        if evidence is not None:
            stack = _stack_of(series, evidence.item, evidence.centre, count=view.geometry.slices)
            window = axial_window(evidence, level, view, wider=wider)
            cut[level] = cut_stack(stack, window, resolution=view.geometry.resolution)
    for index, (level, side) in enumerate(level_and_side(view)):
        if level in cut:
            images, crops.shown[index] = cut[level]
            crops.images[index] = images[:, :, ::-1] if side == SIDES.index("right") else images
            crops.present[index] = _holds_something(images)
    return crops


def _holds_something(crop: NDArray[np.uint8]) -> bool:
    """Whether the middle slice of a crop has any contrast: frames may be blanked, and networks grade even these."""
    return bool(np.ptp(crop[len(crop) // 2]))
