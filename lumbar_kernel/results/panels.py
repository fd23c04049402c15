"""Panels of one study: slices with its levels, foramina and recesses, each drawn where it lies, and graded crops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import CRANIAL, LEFT, SlicePlane
from lumbar_kernel.grids import upright_grid
from lumbar_kernel.results import drawing
from lumbar_kernel.results.drawing import CANAL_COLOUR, FAINT, MARGIN_COLOUR, SIDE_COLOURS, Colour, Picture
from lumbar_kernel.schema import LEVEL_NAMES, LEVELS, SAGITTAL_T1, SAGITTAL_T2, SIDES
from lumbar_kernel.slice_choice import AXIAL_CAP_MM, nearest_sagittal
from lumbar_kernel.study import Slice, Study
from lumbar_kernel.views import CANALS, DISCS, FORAMINA, VIEWS

if TYPE_CHECKING:  # they bring torch, which a process that only reads or completes pictures does without
    from lumbar_kernel.localisation.axial import AxialLevel
    from lumbar_kernel.localisation.landmarks import Landmarks

IN_SLICE_MM = 2.0
"""A point so near to a slice lies in it, even where the slice of another series is nearer."""

CLOSE_UP_MM = 80.0

CROPS_SHOWN = (
    (FORAMINA, SIDES.index("right"), "right foramen"),
    (FORAMINA, SIDES.index("left"), "left foramen"),
    (CANALS, None, "canal"),
    (DISCS, SIDES.index("left"), "axial"),
)
"""Kind of view, side and name of each crop of a level; the axial one of the right side is its mirror image."""

SHORT_ROLES = {SAGITTAL_T1: "T1", SAGITTAL_T2: "T2"}


class GradedCrops(Protocol):
    """The crops of one study in one view, as `grading.crops` cuts them."""

    @property
    def images(self) -> NDArray[np.uint8]:
        """(n, slices, rows, columns), in order of level and side."""

    @property
    def present(self) -> NDArray[np.bool_]:
        """(n,) False where the view does not show the level."""


def sagittal_panels(study: Study, landmarks: Landmarks, *, size: int) -> list[Picture]:
    """Four panels: the canal on T2, the middle of T1, the right and the left foramina.

    Where a role is missing, its panel shows the middle of the other one without marks.
    """
    t1, t2 = study.slices(SAGITTAL_T1), study.slices(SAGITTAL_T2)
    main, other = (SAGITTAL_T2, SAGITTAL_T1) if t2 else (SAGITTAL_T1, SAGITTAL_T2)
    role_of_foramina = SAGITTAL_T1 if t1 else SAGITTAL_T2
    panels = [_canal_panel(study, landmarks, main, size=size)]
    if study.slices(other):
        panels.append(_canal_panel(study, landmarks, other, size=size))
    else:
        panels.append(_plain_panel(study, landmarks, main, missing=other, size=size))
    for side in (1, 0):
        points, colour = landmarks.foramina[:, side], SIDE_COLOURS[side]
        slices = study.slices(role_of_foramina)
        item = nearest_sagittal(slices, np.median(points, axis=0))
        panel, grid = _sagittal(item, f"{SHORT_ROLES[role_of_foramina]}, {SIDES[side]} foramina", size=size)
        mark_levels(panel, grid, item, points, colour, slices=slices)
        panels.append(panel)
    return panels


def _canal_panel(study: Study, landmarks: Landmarks, role: str, *, size: int) -> Picture:
    slices = study.slices(role)
    item = nearest_sagittal(slices, np.median(landmarks.canal, axis=0))
    panel, grid = _sagittal(item, f"{SHORT_ROLES[role]}, canal", size=size)
    for point in landmarks.disc_margin:
        if _lies_in(item, point, slices):
            drawing.dot(panel, drawing.place_of(grid, point), MARGIN_COLOUR, radius=2)
    mark_levels(panel, grid, item, landmarks.canal, CANAL_COLOUR, slices=slices)
    return panel


def _plain_panel(study: Study, landmarks: Landmarks, role: str, *, missing: str, size: int) -> Picture:
    item = nearest_sagittal(study.slices(role), landmarks.canal[len(LEVELS) // 2])
    panel, _ = _sagittal(item, f"{SHORT_ROLES[role]} without marks", size=size)
    drawing.text(panel, f"there is no {missing}", (10, 44), FAINT)
    return panel


def _sagittal(item: Slice, title: str, *, size: int) -> tuple[Picture, SlicePlane]:
    from lumbar_kernel.localisation.slice_maps import frame_of  # brings torch, which is there once a study is localised

    grid = drawing.fitted(frame_of(item), size)
    panel = drawing.grey_panel(item, grid)
    number = "" if item.instance_number is None else f", slice {item.instance_number}"
    drawing.title(panel, f"{title}{number}")
    drawing.edge_marks(panel, "A", "P")
    return panel, grid


def mark_levels(
    panel: Picture, grid: SlicePlane, item: Slice, points: FloatArray, colour: Colour, *, slices: Sequence[Slice]
) -> None:
    """Mark one point a level, (5, 3) mm LPS: a dot where it lies in the slice, else a ring with its distance.

    Args:
        panel: picture of the slice, drawn on.
        grid: of the panel.
        item: the slice shown.
        points: to mark.
        colour: of the marks.
        slices: all slices of the role; a point lies in the nearest of them.
    """
    for name, point in zip(LEVEL_NAMES, points, strict=True):
        place = drawing.place_of(grid, point)
        if _lies_in(item, point, slices):
            drawing.dot(panel, place, colour)
            label = name
        else:
            distance = float(item.plane.distance(point))
            drawing.ring(panel, place, colour)
            side = "L" if distance * float(item.plane.normal @ LEFT) > 0 else "R"
            label = f"{name}  {abs(distance):.0f} mm {side}"
        drawing.text(panel, label, (place[0] + 10, place[1] + 5), colour)


def _lies_in(item: Slice, point: FloatArray, slices: Sequence[Slice]) -> bool:
    """Whether a slice of a role shows a point better than its other slices, or passes through it."""
    return abs(float(item.plane.distance(point))) <= IN_SLICE_MM or nearest_sagittal(slices, point) is item


def axial_panels(
    study: Study, landmarks: Landmarks, axial: Sequence[AxialLevel | None], *, size: int
) -> Iterable[Picture]:
    """One panel a level: its axial slice with both recesses, or the sagittal close-up of a level without one."""
    for level, seen in enumerate(axial):
        yield _close_up(study, landmarks, level, size=size) if seen is None else _axial(landmarks, level, seen, size)


def _axial(landmarks: Landmarks, level: int, seen: AxialLevel, size: int) -> Picture:
    grid = drawing.fitted(seen.grid, size)
    panel = drawing.grey_panel(seen.item, grid)
    number = "" if seen.item.instance_number is None else f", slice {seen.item.instance_number}"
    drawing.title(panel, f"{LEVEL_NAMES[level]}, axial T2{number}")
    normal = seen.item.plane.normal
    tilt = np.degrees(np.arccos(min(1.0, abs(float(normal @ landmarks.disc_normal[level])))))
    distance = float(seen.item.plane.distance(landmarks.canal[level])) * np.sign(float(normal @ CRANIAL))
    where = "below" if distance > 0 else "above"
    drawing.text(panel, f"{abs(distance):.0f} mm {where} the disc, tilted {tilt:.0f} deg", (10, 42), FAINT, size=0.4)
    for side, point in enumerate(seen.recesses):
        mark = drawing.dot if seen.evidence[side] > 0 else drawing.ring  # a ring: placed by geometry alone
        mark(panel, drawing.place_of(grid, point), SIDE_COLOURS[side])
    drawing.edge_marks(panel, "R", "L")
    return panel


def _close_up(study: Study, landmarks: Landmarks, level: int, *, size: int) -> Picture:
    role = SAGITTAL_T2 if study.slices(SAGITTAL_T2) else SAGITTAL_T1
    item = nearest_sagittal(study.slices(role), landmarks.canal[level])
    centre, spacing = landmarks.canal[level], CLOSE_UP_MM / size
    grid = upright_grid(item.plane, centre, sagittal=True, spacing=spacing, shape=(size, size))
    panel = drawing.grey_panel(item, grid)
    drawing.title(panel, f"{LEVEL_NAMES[level]}, {SHORT_ROLES[role]} close up")
    drawing.text(panel, f"no axial slice within {AXIAL_CAP_MM:g} mm of the disc", (10, 42), FAINT, size=0.4)
    drawing.dot(panel, drawing.place_of(grid, centre), CANAL_COLOUR)
    drawing.edge_marks(panel, "A", "P")
    return panel


def crop_panels(crops: Mapping[str, GradedCrops], *, size: int) -> Iterable[Picture]:
    """One panel a level with the crops that members graded: right and left foramen, canal, axial (as on the left)."""
    of_kind = {VIEWS[name].centred_on: found for name, found in reversed([*crops.items()])}
    half = size // 2
    for level in range(len(LEVELS)):
        panel = drawing.blank(size, size)
        for place, (kind, side, name) in enumerate(CROPS_SHOWN):
            cell = panel[half * (place // 2) :, half * (place % 2) :][:half, :half]
            index = level if side is None else len(SIDES) * level + side
            found = of_kind.get(kind)
            if found is not None and found.present[index]:
                cell[:] = _fit(found.images[index, found.images.shape[1] // 2], half)
                drawing.text(cell, name, (8, half - 10), size=0.42)
            else:
                cell[:] = drawing.SURFACE
                drawing.text(cell, name, (8, half - 10), FAINT, size=0.42, edge=False)
                drawing.text(cell, "not imaged", (8, half // 2), FAINT, size=0.42, edge=False)
        drawing.text(panel, LEVEL_NAMES[level], (8, 20))
        yield panel


def _fit(image: NDArray[np.uint8], size: int) -> Picture:
    """A grey crop scaled to fill a square, padded where it is not square itself."""
    scale = size / max(image.shape)
    rows, columns = (round(length * scale) for length in image.shape)
    scaled = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_CUBIC)
    cell = drawing.blank(size, size)
    top, left = (size - rows) // 2, (size - columns) // 2
    cell[top : top + rows, left : left + columns] = drawing.grey(scaled)
    return cell
