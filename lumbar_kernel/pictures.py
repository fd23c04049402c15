"""Overlay pictures of a study: where the kernel saw levels, foramina and recesses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.axial import AxialView
from lumbar_kernel.crop import nearest_sagittal
from lumbar_kernel.geometry import FloatArray
from lumbar_kernel.localise import Landmarks, frame_of
from lumbar_kernel.sampling import Grid, normalise, sample
from lumbar_kernel.schema import LEVEL_NAMES, LEVELS, SAGITTAL_T1, SAGITTAL_T2, SIDES
from lumbar_kernel.study import Slice, Study

Picture = NDArray[np.uint8]

SIZE = 384
"""Pixels of one panel."""

CANAL_COLOUR, MARGIN_COLOUR, FORAMEN_COLOUR = (80, 220, 80), (60, 180, 255), (255, 160, 60)
SIDE_COLOURS = {"left": (60, 60, 255), "right": (255, 200, 60)}


def draw_study(study: Study, landmarks: Landmarks, axial: Sequence[AxialView | None], folder: Path) -> Path:
    """Write `<study_id>.png` into a folder: mid-sagittal and foraminal slices above, one axial slice a level below."""
    rows = [_sagittal_row(study, landmarks), _axial_row(axial)]
    width = max(row.shape[1] for row in rows)
    canvas = np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{study.study_id}.png"
    coded, data = cv2.imencode(".png", canvas)
    if not coded:
        msg = f"the picture of study {study.study_id} could not be encoded"
        raise ValueError(msg)
    path.write_bytes(data.tobytes())
    return path


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
            panel = np.zeros((SIZE, SIZE, 3), np.uint8)
            _write(panel, f"{LEVEL_NAMES[level]}: no axial slice")
        else:
            grid = _fitted(view.grid)
            panel = _grey(sample(view.item, grid))
            for side, point in zip(SIDES, view.recesses, strict=True):
                _mark(panel, grid, point[None], SIDE_COLOURS[side])
            _write(panel, f"{LEVEL_NAMES[level]}, slice {view.item.instance_number}")
        panels.append(panel)
    return np.concatenate(panels[: len(LEVELS)], axis=1)


def _panel(item: Slice, title: str) -> tuple[Picture, Grid]:
    grid = _fitted(frame_of(item))
    panel = _grey(sample(item, grid))
    _write(panel, title)
    return panel, grid


def _fitted(grid: Grid) -> Grid:
    """The same field of view in the pixels of a panel."""
    spacing = grid.spacing * max(grid.shape) / SIZE
    return Grid(corner=grid.corner, down=grid.down, right=grid.right, spacing=spacing, shape=(SIZE, SIZE))


def _grey(image: NDArray[np.float32]) -> Picture:
    bytes_ = np.clip(normalise(image) * 235, 0, 255).astype(np.uint8)
    return np.repeat(bytes_[:, :, None], 3, axis=2)


def _mark(
    panel: Picture, grid: Grid, points: FloatArray, colour: tuple[int, int, int], labels: Sequence[str] = ()
) -> None:
    for index, (row, column) in enumerate(grid.to_pixel(points)):
        place = (round(float(column)), round(float(row)))
        cv2.circle(panel, place, 3, colour, -1, cv2.LINE_AA)
        if labels:
            beside = (place[0] + 6, place[1] + 4)
            cv2.putText(panel, labels[index], beside, cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, 1, cv2.LINE_AA)


def _write(panel: Picture, text: str) -> None:
    cv2.putText(panel, text, (6, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
