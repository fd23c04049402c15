"""The 25 grades of a study as a heat map with their probabilities, drawn with OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.results import drawing
from lumbar_kernel.results.drawing import BACKGROUND, FAINT, SEVERITY_COLOURS, SURFACE, Colour, Picture
from lumbar_kernel.schema import (
    GROUPS,
    LEVEL_NAMES,
    LEVELS,
    PLACES,
    SEVERITY_NAMES,
    SIDED,
    TARGETS,
    Target,
    frequencies,
)

COLUMNS = tuple((group, side) for group in GROUPS for side in (("right", "left") if group in SIDED else ("",)))
"""Condition and side of each column; the patient's right is left, as in an axial picture."""

TINT = 0.34
"""Share of the grades' colours in a cell, so that its small text keeps a contrast of 4.5."""

LABELS, HEADING = 56, 44
"""Pixels for the names of the levels and of the columns."""


def draw_grades(chart: Picture, probabilities: FloatArray, graded: NDArray[np.bool_]) -> None:
    """Fill a picture with the heat map: a row a level, a column a condition and side.

    A cell is coloured by how severe the grade is expected to be and names the submission's three probabilities; that of
    the most frequent grade is bright. Where the prior stands in, the cell has no colour.

    Args:
        chart: drawn on, about 500 pixels wide.
        probabilities: (25, 3), rows as in `schema.ROWS`.
        graded: (25,) whether a member graded the row.
    """
    chart[:] = BACKGROUND
    rows, columns = chart.shape[:2]
    height, width = (rows - HEADING) // len(LEVELS), (columns - LABELS) // len(COLUMNS)
    for column, (group, side) in enumerate(COLUMNS):
        left = LABELS + column * width
        for line, words in enumerate((PLACES[group], side)):
            drawing.text(chart, words, (left + 4, 16 + 17 * line), FAINT, size=0.42, edge=False)
        for level, name in enumerate(LEVELS):
            row = TARGETS.index(Target(group, side, name))
            cell = chart[HEADING + level * height :, left:][: height - 4, : width - 4]
            _draw_cell(cell, probabilities[row], by_kernel=bool(graded[row]))
    for level, name in enumerate(LEVEL_NAMES):
        drawing.text(chart, name, (0, HEADING + level * height + height // 2), edge=False)


def _draw_cell(cell: Picture, values: FloatArray, *, by_kernel: bool) -> None:
    share = frequencies(values)
    cell[:] = mixed_colour(share) if by_kernel else SURFACE
    rows, columns = cell.shape[:2]
    most = int(np.argmax(share))
    step = (rows - 22) / len(SEVERITY_NAMES)
    for grade, name in enumerate(SEVERITY_NAMES):
        base = round(8 + step * (grade + 0.72))
        colour = drawing.TEXT if grade == most and by_kernel else FAINT
        size = 0.46 if grade == most else 0.42
        drawing.text(cell, name[:3], (6, base), colour, size=size, edge=False)
        number = f"{values[grade]:.2f}"
        drawing.text(
            cell, number, (columns - 6 - drawing.width_of(number, size=size), base), colour, size=size, edge=False
        )
    if not by_kernel:
        drawing.text(cell, "prior", (6, rows - 7), FAINT, size=0.38, edge=False)
        return
    edges = [0, *np.rint(np.cumsum(values) / np.sum(values) * (columns - 12)).astype(int).tolist()]
    for grade, colour in enumerate(SEVERITY_COLOURS):
        if edges[grade + 1] > edges[grade]:
            corners = (6 + edges[grade], rows - 13), (6 + edges[grade + 1] - 1, rows - 7)
            cv2.rectangle(cell, *corners, colour, -1)


def mixed_colour(share: FloatArray) -> Colour:
    """A dark tint: the colours of the grades mixed by how often each is expected (3,)."""
    blue, green, red = (
        round(TINT * level + (1 - TINT) * base)
        for level, base in zip(np.asarray(share) @ np.array(SEVERITY_COLOURS), BACKGROUND, strict=True)
    )
    return blue, green, red
