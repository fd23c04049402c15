"""What would be read of a study, drawn: each series by its middle slice, axial blocks as lines on a sagittal slice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.grids import upright_frame
from lumbar_kernel.results import drawing
from lumbar_kernel.results.drawing import FAINT, Colour, Picture
from lumbar_kernel.results.wording import without_paths
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, SERIES_DESCRIPTIONS
from lumbar_kernel.slice_choice import MIN_NEIGHBOUR_COSINE, NEIGHBOUR_GAP_MM
from lumbar_kernel.study import Series, Slice, Study

SCOUT, TILE, CAPTION = 720, 400, 92
"""Edges of the slice with the blocks and of a series' slice, and the height of the text below it, pixels."""

ACROSS = 3
WIDTH = SCOUT + ACROSS * TILE
MAX_STUDIES = 8
"""Studies on one picture; more are too many to look at."""

MAX_PROBLEMS = 20
LINE = 20

BLOCK_COLOURS: tuple[Colour, ...] = (
    *((248, 208, 90), (100, 240, 190), (220, 130, 255), (60, 184, 245)),
    *((160, 160, 255), (210, 210, 120), (120, 200, 255)),
)


def draw_inspection(studies: Iterable[Study], path: Path) -> int:
    """Draw the first studies below one another; returns how many of them there are.

    Raises:
        ConfigError: the suffix is none of `drawing.SUFFIXES`.
        OSError: the file cannot be written.
    """
    drawing.check_suffix(path)  # before the work
    sheets = [inspection_sheet(study) for study, _ in zip(studies, range(MAX_STUDIES), strict=False)]
    drawing.save(np.concatenate(sheets), path)
    return len(sheets)


def inspection_sheet(study: Study) -> Picture:
    """One study: blocks at the left, series and problems at the right."""
    tiles = [_series_tile(series) for series in study.series]
    tiles += [drawing.blank(TILE + CAPTION, TILE)] * (-len(tiles) % ACROSS)
    rows = [np.concatenate(tiles[start : start + ACROSS], axis=1) for start in range(0, len(tiles), ACROSS)]
    left, right = _scout(study), np.concatenate([*rows, _problems(study)])
    both = drawing.blank(max(len(left), len(right)), WIDTH)
    both[: len(left), :SCOUT], both[: len(right), SCOUT:] = left, right
    return np.concatenate([_heading(study), both])


def _heading(study: Study) -> Picture:
    strip = drawing.blank(44, WIDTH, drawing.SURFACE)
    counts = ", ".join(f"{role}: {len(study.slices(role))} slices" for role in SERIES_DESCRIPTIONS)
    drawing.text(strip, f"study {study.study_id}", (14, 30), size=0.7, edge=False)
    drawing.text(strip, counts, (SCOUT + 8, 29), FAINT, size=0.5, edge=False)
    return strip


def _scout(study: Study) -> Picture:
    """The middle sagittal slice with a line for each axial slice, a colour a block."""
    slices = study.slices(SAGITTAL_T2) or study.slices(SAGITTAL_T1)
    if not slices:
        panel = drawing.blank(LINE * 2, SCOUT)
        drawing.title(panel, "no sagittal series: the levels cannot be found")
        return panel
    item = slices[len(slices) // 2]
    grid = upright_frame(item.plane, SCOUT, sagittal=True)
    panel = drawing.grey_panel(item, grid)
    found = [block for series in study.series if series.role == AXIAL_T2 for block in blocks(series.slices)]
    for number, block in enumerate(found):
        colour = BLOCK_COLOURS[number % len(BLOCK_COLOURS)]
        lines = [line for axial in block if (line := crossing(axial.plane, item.plane)) is not None]
        for one, other in lines:
            cv2.line(panel, drawing.place_of(grid, one), drawing.place_of(grid, other), colour, 1, cv2.LINE_AA)
        if lines:
            # at the anterior end, where tilted blocks lie apart
            column, row = min(drawing.place_of(grid, end) for end in lines[len(lines) // 2])
            label = f"block {number + 1}: {len(block)} slices"
            left = max(8, column - 8 - drawing.width_of(label))
            drawing.text(panel, label, (left, max(44, min(row + 5, SCOUT - 8))), colour)
    drawing.title(panel, f"axial blocks on sagittal slice {_number(item)}" if found else "no axial series")
    drawing.edge_marks(panel, "A", "P")
    return panel


def blocks(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices in order, split where the next one is turned by more than five degrees or more than 12 mm away."""
    found: list[list[Slice]] = [[item] for item in slices[:1]]
    for before, after in pairwise(slices):
        parallel = abs(float(before.plane.normal @ after.plane.normal)) >= MIN_NEIGHBOUR_COSINE
        near = abs(float(before.plane.distance(after.plane.centre))) <= NEIGHBOUR_GAP_MM[1]
        if parallel and near:
            found[-1].append(after)
        else:
            found.append([after])
    return found


def crossing(plane: SlicePlane, scout: SlicePlane) -> tuple[FloatArray, FloatArray] | None:
    """The ends of the line, mm LPS, in which a slice cuts another one; None where it does not reach it."""
    across = scout.normal - float(scout.normal @ plane.normal) * plane.normal
    length = float(np.linalg.norm(across))
    if length < 0.2:  # nearly parallel
        return None
    across /= length
    along = np.cross(plane.normal, across)
    reach = float(scout.distance(plane.centre)) / float(across @ scout.normal)
    height, width = plane.extent_mm
    if abs(reach) > max(height, width) / 2:
        return None
    middle = plane.centre - reach * across
    half = max(height, width) / 2 * along
    return middle - half, middle + half


def _series_tile(series: Series) -> Picture:
    """The middle slice of a series, with its role and geometry below."""
    item = series.slices[len(series.slices) // 2]
    sagittal = series.role != AXIAL_T2
    panel = drawing.grey_panel(item, upright_frame(item.plane, TILE, sagittal=sagittal))
    drawing.title(panel, f"slice {_number(item)}", size=0.42)
    drawing.edge_marks(panel, *("AP" if sagittal else "RL"))
    caption = drawing.blank(CAPTION, TILE)
    drawing.text(caption, series.role, (10, 22), size=0.5, edge=False)
    for line, words in enumerate(geometry_of(series)):
        drawing.text(caption, words, (10, 43 + LINE * line), FAINT, size=0.42, edge=False)
    return np.concatenate([panel, caption])


def geometry_of(series: Series) -> list[str]:
    """Slices and blocks, matrix and spacing, steps: a line each."""
    count = len(blocks(series.slices))
    planes = [item.plane for item in series.slices]
    middle = planes[len(planes) // 2]
    steps = [abs(float(one.distance(other.centre))) for one, other in pairwise(planes)]
    shapes = {plane.shape for plane in planes}
    matrix = f"{middle.shape[0]}x{middle.shape[1]}" if len(shapes) == 1 else f"{len(shapes)} matrices"
    lines = [
        f"{len(planes)} slices in {count} block{'s' if count > 1 else ''}",
        f"{matrix} at {middle.row_spacing:.2f}x{middle.column_spacing:.2f} mm",
    ]
    return [*lines, f"median step {np.median(steps):.1f} mm"] if steps else lines


def _problems(study: Study) -> Picture:
    """What is missing, doubled or was refused."""
    found = [f"no {role} series" for role in SERIES_DESCRIPTIONS if not study.slices(role)]
    for role in SERIES_DESCRIPTIONS:
        count = sum(series.role == role for series in study.series)
        found += [f"{count} series are {role}; all of them are used"] if count > 1 else []
    found += without_paths(study.problems)
    lines = [line for words in found for line in drawing.wrapped(words, WIDTH - SCOUT - 40)]
    if len(lines) > MAX_PROBLEMS:
        lines = [*lines[: MAX_PROBLEMS - 1], f"and {len(lines) - MAX_PROBLEMS + 1} more lines"]
    strip = drawing.blank(44 + LINE * len(lines), WIDTH - SCOUT)
    drawing.text(strip, "problems" if lines else "no problems", (14, 28), FAINT, edge=False)
    for line, words in enumerate(lines):
        drawing.text(strip, words, (14, 50 + LINE * line), edge=False)
    return strip


def _number(item: Slice) -> str:
    return "without number" if item.instance_number is None else str(item.instance_number)
