"""Overlay pictures of predicted levels, foramina and recesses, and contact sheets of studies with ground truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.localisation.axial import AxialView, nearest_slice, window_of
from lumbar_kernel.localisation.landmarks import Landmarks
from lumbar_kernel.localisation.slice_maps import frame_of
from lumbar_kernel.resampling import PixelGrid, centred_grid, nearest_sagittal, normalise, sample, upright_axes
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
from lumbar_kernel.study import Slice, Study

Picture = NDArray[np.uint8]

SIZE = 384
"""Pixels of one panel."""

CANAL_COLOUR, MARGIN_COLOUR, FORAMEN_COLOUR = (80, 220, 80), (60, 180, 255), (255, 160, 60)
SIDE_COLOURS = {"left": (60, 60, 255), "right": (255, 200, 60)}
GRADE_COLOURS = ((90, 230, 90), (40, 210, 255), (70, 70, 255), (220, 220, 220))
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


def draw_study(study: Study, landmarks: Landmarks, axial: Sequence[AxialView | None], folder: Path) -> Path:
    """Write `<study_id>.png` into a folder: mid-sagittal and foraminal slices above, one axial slice a level below."""
    path = folder / f"{study.study_id}.png"
    _save([_sagittal_row(study, landmarks), _axial_row(axial)], path)
    return path


def draw_gallery(studies: Iterable[tuple[Study, Truth]], path: Path) -> None:
    """Write a contact sheet: one row a study with its true points, coloured by grade.

    The panels of a row are sagittal T2 in the middle, sagittal T1 at the right and left foramina, the axial slice of
    L4/L5 whole, and the level with the worst canal and recesses close up. A ring marks a point of another slice.
    """
    rows = [_truth_row(study, truth) for study, truth in studies]
    _save([_legend(rows[0].shape[1]), *rows], path)


def _save(rows: Sequence[Picture], path: Path) -> None:
    """Write rows of panels below one another as PNG, padded to one width; raises ValueError if they do not encode."""
    width = max(row.shape[1] for row in rows)
    canvas = np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])
    coded, data = cv2.imencode(".png", canvas)
    if not coded:
        msg = f"the picture {path} could not be encoded"
        raise ValueError(msg)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())


def _legend(width: int) -> Picture:
    strip: Picture = np.zeros((24, width, 3), np.uint8)
    for index, (name, colour) in enumerate(zip((*SEVERITY_NAMES, "not graded"), GRADE_COLOURS, strict=True)):
        cv2.circle(strip, (14 + 150 * index, 12), 4, colour, -1, cv2.LINE_AA)
        _text(strip, name, (24 + 150 * index, 16), colour, size=0.4)
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
    for level, whole in ((LEVELS.index("l4_l5"), True), (worst, False)):
        panels.append(_graded_axial(study, truth, points[level], grades[level], level=level, whole=whole))
    return np.concatenate(panels, axis=1)


def _graded_sagittal(study: Study, role: str, points: FloatArray, grades: NDArray[np.int64], title: str) -> Picture:
    slices = study.slices(role)
    if not slices or np.isnan(points).all():
        return _empty(f"{title}: nothing to show")
    item = nearest_sagittal(slices, np.nanmedian(points, axis=0))
    panel, grid = _panel(item, title)
    _mark_grades(panel, grid, item, points, grades, labels=LEVEL_NAMES)
    return panel


def _graded_axial(
    study: Study, truth: Truth, points: FloatArray, grades: NDArray[np.int64], *, level: int, whole: bool
) -> Picture:
    """The axial slice of a level with its canal, left and right recess, whole or close up; patient left is right."""
    slices = study.slices(AXIAL_T2)
    index = nearest_slice(slices, truth.canal[level], normal=truth.disc_normal[level])
    if index is None:
        return _empty(f"axial T2, {LEVEL_NAMES[level]}: no slice")
    item = slices[index]
    grid = _fitted(window_of(item, truth.canal[level]))
    if whole:
        down, right = upright_axes(item.plane, sagittal=False)
        spacing = max(item.plane.extent_mm) / SIZE
        grid = centred_grid(item.plane.centre, down=down, right=right, spacing=spacing, shape=(SIZE, SIZE))
    panel = _grey(sample(item, grid))
    _write(panel, f"axial T2, {LEVEL_NAMES[level]}")
    _mark_grades(panel, grid, item, points, grades)
    return panel


def _mark_grades(
    panel: Picture,
    grid: PixelGrid,
    item: Slice,
    points: FloatArray,
    grades: NDArray[np.int64],
    labels: Sequence[str] = (),
) -> None:
    for index in np.flatnonzero(~np.isnan(points[:, 0])).tolist():
        on_slice = abs(float(item.plane.distance(points[index]))) < SHOWN_MM
        name = labels[index : index + 1]
        _mark(panel, grid, points[index][None], GRADE_COLOURS[grades[index]], labels=name, filled=on_slice)


def _empty(title: str) -> Picture:
    panel: Picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    _write(panel, title)
    return panel


def _sagittal_row(study: Study, landmarks: Landmarks) -> Picture:
    """Panels: the middle slice of each sagittal role, then T1 (or T2) at the right and left foramina."""
    panels = []
    middle = landmarks.canal[2]
    for role in (SAGITTAL_T2, SAGITTAL_T1):
        if slices := study.slices(role):
            panel, grid = _panel(nearest_sagittal(slices, middle), f"{role}, middle")
            _mark(panel, grid, landmarks.canal, CANAL_COLOUR, labels=LEVEL_NAMES)
            _mark(panel, grid, landmarks.disc_margin, MARGIN_COLOUR)
            panels.append(panel)
    role = SAGITTAL_T1 if study.slices(SAGITTAL_T1) else SAGITTAL_T2
    for side in (1, 0):
        points = landmarks.foramina[:, side]
        item = nearest_sagittal(study.slices(role), np.median(points, axis=0))
        panel, grid = _panel(item, f"{role}, {SIDES[side]} foramina")
        _mark(panel, grid, points, FORAMEN_COLOUR, labels=LEVEL_NAMES)
        panels.append(panel)
    return np.concatenate(panels, axis=1)


def _axial_row(axial: Sequence[AxialView | None]) -> Picture:
    """One panel a level, patient left on the right, recesses marked; black where there is no slice."""
    panels = []
    for level, view in enumerate(axial):
        if view is None:
            panel = _empty(f"{LEVEL_NAMES[level]}: no axial slice")
        else:
            grid = _fitted(view.grid)
            panel = _grey(sample(view.item, grid))
            for side, point in zip(SIDES, view.recesses, strict=True):
                _mark(panel, grid, point[None], SIDE_COLOURS[side])
            _write(panel, f"{LEVEL_NAMES[level]}, slice {view.item.instance_number}")
        panels.append(panel)
    return np.concatenate(panels[: len(LEVELS)], axis=1)


def _panel(item: Slice, title: str) -> tuple[Picture, PixelGrid]:
    grid = _fitted(frame_of(item))
    panel = _grey(sample(item, grid))
    _write(panel, title)
    return panel, grid


def _fitted(grid: PixelGrid) -> PixelGrid:
    """The same field of view in the pixels of a panel."""
    spacing = grid.spacing * max(grid.shape) / SIZE
    return PixelGrid(corner=grid.corner, down=grid.down, right=grid.right, spacing=spacing, shape=(SIZE, SIZE))


def _grey(image: NDArray[np.float32]) -> Picture:
    bytes_ = np.clip(normalise(image) * 235, 0, 255).astype(np.uint8)
    return np.repeat(bytes_[:, :, None], 3, axis=2)


def _mark(
    panel: Picture,
    grid: PixelGrid,
    points: FloatArray,
    colour: tuple[int, int, int],
    labels: Sequence[str] = (),
    *,
    filled: bool = True,
) -> None:
    for index, (row, column) in enumerate(grid.to_pixel(points)):
        place = (round(float(column)), round(float(row)))
        cv2.circle(panel, place, 3, colour, -1 if filled else 1, cv2.LINE_AA)
        if labels:
            _text(panel, labels[index], (place[0] + 6, place[1] + 4), colour, size=0.35)


def _write(panel: Picture, text: str) -> None:
    _text(panel, text, (6, 14), (255, 255, 255), size=0.4)


def _text(panel: Picture, text: str, place: tuple[int, int], colour: tuple[int, int, int], *, size: float) -> None:
    """Text with a dark edge, so that it can be read on bright tissue."""
    edge = [(place[0] + across, place[1] + down) for across in (-1, 0, 1) for down in (-1, 0, 1)]
    for at, tone in (*((at, (0, 0, 0)) for at in edge), (place, colour)):
        cv2.putText(panel, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, tone, 1, cv2.LINE_AA)
