"""Contact sheets of studies with their ground truth: one row a study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.grids import upright_frame
from lumbar_kernel.localisation.axial import window_of
from lumbar_kernel.localisation.slice_maps import frame_of
from lumbar_kernel.results import drawing
from lumbar_kernel.results.drawing import SEVERITY_COLOURS, Colour, Picture
from lumbar_kernel.schema import (
    AXIAL_T2,
    CANAL,
    FORAMINAL,
    LEVEL_NAMES,
    LEVELS,
    SAGITTAL_T1,
    SAGITTAL_T2,
    SEVERITY_NAMES,
    SIDES,
    SUBARTICULAR,
    row_index,
)
from lumbar_kernel.slice_choice import axial_showing, nearest_sagittal
from lumbar_kernel.study import Slice, Study

SIZE = 384
"""Pixels of one panel."""

GRADE_COLOURS: tuple[Colour, ...] = (*SEVERITY_COLOURS, (220, 220, 220))
"""Normal/mild, moderate, severe, and no grade, which is index -1."""

SHOWN_MM = 4.0
"""A point farther from its slice is drawn as a ring."""


class Truth(Protocol):
    """Ground truth of a study, NaN where unlabelled: a phantom's truth, or labels in millimetres."""

    @property
    def canal(self) -> FloatArray:
        """(5, 3) mm LPS."""

    @property
    def foramina(self) -> FloatArray:
        """(5, 2, 3) level and side, mm LPS."""

    @property
    def recesses(self) -> FloatArray:
        """(5, 2, 3) level and side, mm LPS."""

    @property
    def disc_normal(self) -> FloatArray:
        """(5, 3) cranial unit normals."""

    @property
    def grades(self) -> NDArray[np.int64]:
        """(25,) grade 0..2 of `schema.ROWS`, -1 where there is none."""


def draw_gallery(studies: Iterable[tuple[Study, Truth]], path: Path) -> None:
    """Write a contact sheet: one row a study with its true points, coloured by grade.

    The panels of a row are sagittal T2 in the middle, sagittal T1 at the right and left foramina, the axial slice of
    the last level but one whole, and the level with the worst canal and recesses close up. A ring marks a point of
    another slice.
    """
    rows = [_truth_row(study, truth) for study, truth in studies]
    drawing.save(np.concatenate([_legend(rows[0].shape[1]), *rows]), path)


def _legend(width: int) -> Picture:
    strip = drawing.blank(24, width)
    for index, (name, colour) in enumerate(zip((*SEVERITY_NAMES, "not graded"), GRADE_COLOURS, strict=True)):
        cv2.circle(strip, (14 + 150 * index, 12), 4, colour, -1, cv2.LINE_AA)
        drawing.text(strip, name, (24 + 150 * index, 16), colour)
    return strip


def _truth_row(study: Study, truth: Truth) -> Picture:
    canal = np.array([truth.grades[row_index(CANAL, level)] for level in range(len(LEVELS))])
    foraminal, subarticular = (
        np.array([[truth.grades[row_index(group, level, side)] for side in range(2)] for level in range(len(LEVELS))])
        for group in (FORAMINAL, SUBARTICULAR)
    )
    panels = [_graded_sagittal(study, SAGITTAL_T2, truth.canal, canal, f"{study.study_id}: T2, canal")]
    for side in (1, 0):
        title = f"T1, {SIDES[side]} foramina"
        panels.append(_graded_sagittal(study, SAGITTAL_T1, truth.foramina[:, side], foraminal[:, side], title))
    points = np.concatenate([truth.canal[:, None], truth.recesses], axis=1)
    grades = np.concatenate([canal[:, None], subarticular], axis=1)
    narrowing = grades.sum(axis=1)
    worst = int(len(LEVELS) - 1 - narrowing[::-1].argmax())  # the lowest of equals, where discs wear most
    for level, whole in ((len(LEVELS) - 2, True), (worst, False)):
        panels.append(_graded_axial(study, truth, points[level], grades[level], level=level, whole=whole))
    return np.concatenate(panels, axis=1)


def _graded_sagittal(study: Study, role: str, points: FloatArray, grades: NDArray[np.int64], title: str) -> Picture:
    slices = study.slices(role)
    if not slices or np.isnan(points).all():
        return _empty(f"{title}: nothing to show")
    item = nearest_sagittal(slices, np.nanmedian(points, axis=0))
    grid = drawing.fitted(frame_of(item), SIZE)
    panel = drawing.grey_panel(item, grid)
    drawing.title(panel, title)
    _mark_grades(panel, grid, item, points, grades, labels=LEVEL_NAMES)
    return panel


def _graded_axial(
    study: Study, truth: Truth, points: FloatArray, grades: NDArray[np.int64], *, level: int, whole: bool
) -> Picture:
    """The axial slice of a level with its canal, left and right recess, whole or close up; patient left is right."""
    slices = study.slices(AXIAL_T2)
    item = axial_showing(slices, truth.canal[level], normal=truth.disc_normal[level])
    if item is None:
        return _empty(f"axial T2, {LEVEL_NAMES[level]}: no slice")
    if whole:
        grid = upright_frame(item.plane, SIZE, sagittal=False)
    else:
        grid = drawing.fitted(window_of(item, truth.canal[level]), SIZE)
    panel = drawing.grey_panel(item, grid)
    drawing.title(panel, f"axial T2, {LEVEL_NAMES[level]}")
    _mark_grades(panel, grid, item, points, grades)
    return panel


def _mark_grades(
    panel: Picture,
    grid: SlicePlane,
    item: Slice,
    points: FloatArray,
    grades: NDArray[np.int64],
    labels: Sequence[str] = (),
) -> None:
    for index in np.flatnonzero(~np.isnan(points[:, 0])).tolist():
        on_slice = abs(float(item.plane.distance(points[index]))) < SHOWN_MM
        place, colour = drawing.place_of(grid, points[index]), GRADE_COLOURS[grades[index]]
        (drawing.dot if on_slice else drawing.ring)(panel, place, colour)
        if labels:
            drawing.text(panel, labels[index], (place[0] + 9, place[1] + 4), colour, size=0.4)


def _empty(title: str) -> Picture:
    panel = drawing.blank(SIZE, SIZE)
    drawing.title(panel, title)
    return panel
