"""The picture of one study: slices with what was found on them, graded crops, legend, grades, what is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.results import drawing
from lumbar_kernel.results.atomic import as_utf8, readable
from lumbar_kernel.results.drawing import CANAL_COLOUR, FAINT, MARGIN_COLOUR, SEVERITY_COLOURS, SIDE_COLOURS, Picture
from lumbar_kernel.results.grade_chart import draw_grades
from lumbar_kernel.results.panels import GradedCrops, axial_panels, crop_panels, sagittal_panels
from lumbar_kernel.results.wording import without_paths
from lumbar_kernel.schema import LEVELS, SERIES_DESCRIPTIONS, SEVERITY_NAMES
from lumbar_kernel.study import Study

if TYPE_CHECKING:  # they bring torch, which would delay the grades that a run draws at its end
    from lumbar_kernel.localisation.axial import AxialLevel
    from lumbar_kernel.localisation.landmarks import Landmarks

TILE = 384
"""Pixels of an axial or crop panel, one a level in a row."""

SAGITTAL = len(LEVELS) * TILE // 4
"""Pixels of a sagittal panel, four in a row of the same length."""

PANEL_ROWS = (("sagittal", SAGITTAL), ("axial", TILE), ("crops", TILE))
"""The rows of panels from above: what they show, and the edge of a panel in pixels."""

IMAGES = (sum(size for _, size in PANEL_ROWS), len(LEVELS) * TILE)
"""Rows and columns of all panels."""

COLUMN = 520
"""Width of the text beside them."""

CHART = (slice(584, IMAGES[0] - 8), slice(IMAGES[1] + 14, IMAGES[1] + COLUMN - 6))
"""Where the grades stand, in rows and columns of the picture."""

MARKS = (
    (CANAL_COLOUR, "canal"),
    (MARGIN_COLOUR, "posterior disc margin"),
    (SIDE_COLOURS[1], "patient's right (R)"),
    (SIDE_COLOURS[0], "patient's left (L)"),
)
"""What the colours of dots stand for."""

RING_MEANING = (
    "lies in another slice, so many mm to that side;",
    "on an axial slice: placed by geometry alone",
)
"""What a ring in place of a dot stands for, in lines."""

GRADES_NOTE = "probabilities as submitted; the bright one is the likeliest grade"

NOT_IN_NAMES = re.compile(r"[^\w .-]|^\.+")
HASH_LETTERS = 8

MAX_MISSING_LINES = 6
LINE = 19


def picture_path(folder: Path, study_id: str) -> Path:
    """Where the picture of a study is, in the folder of all pictures; ids come from files and may hold a path.

    An id that cannot be a name itself is told from others that would look alike by a part of its hash. One that holds
    bytes that are no text has the picture of the id that the tables show.
    """
    name = NOT_IN_NAMES.sub("_", readable(study_id))
    if name != study_id:
        name += f"-{sha256(as_utf8(study_id)).hexdigest()[:HASH_LETTERS]}"
    return folder / f"{name}.jpg"


def picture_layout() -> dict[str, Any]:
    """Where the panels stand in a picture: left, top, width and height in pixels, row by row."""
    panels, top = {}, 0
    for name, size in PANEL_ROWS:
        panels[name] = [[left, top, size, size] for left in range(0, IMAGES[1], size)]
        top += size
    return {"width": IMAGES[1] + COLUMN, "height": IMAGES[0], "panels": panels}


def draw_study(
    study: Study,
    landmarks: Landmarks,
    axial: Sequence[AxialLevel | None],
    crops: Mapping[str, GradedCrops],
    folder: Path,
    *,
    missing: Sequence[str] = (),
) -> Path:
    """Write `<study_id>.jpg` into a folder, without grades; `add_grades` adds them once they are final.

    Args:
        study: with its slices.
        landmarks: of the study.
        axial: the axial slice of each level, None where there is none.
        crops: view → the crops that were graded.
        folder: is made where it is absent.
        missing: a sentence for each thing that was not there or was refused.
    """
    sagittal = np.concatenate(sagittal_panels(study, landmarks, size=SAGITTAL), axis=1)
    levels = np.concatenate([*axial_panels(study, landmarks, axial, size=TILE)], axis=1)
    graded = np.concatenate([*crop_panels(crops, size=TILE)], axis=1)
    images = np.concatenate([_separated(row) for row in (sagittal, levels, graded)])
    beside = drawing.blank(IMAGES[0], COLUMN)
    _describe(beside, study, landmarks, missing)
    path = picture_path(folder, study.study_id)
    drawing.save(np.concatenate([images, beside], axis=1), path)
    return path


def add_grades(path: Path, probabilities: FloatArray, graded: NDArray[np.bool_]) -> None:
    """Draw the grades of a study into its picture; a file that is no such picture is left alone.

    Args:
        path: of the picture.
        probabilities: (25, 3), rows as in `schema.ROWS`.
        graded: (25,) whether a member graded the row; the others hold the prior.

    Raises:
        OSError: the file cannot be read or written.
    """
    picture = drawing.decoded(path.read_bytes(), cv2.IMREAD_COLOR)
    if picture is None or picture.shape[:2] != (IMAGES[0], IMAGES[1] + COLUMN):
        return
    beside = picture[:, IMAGES[1] :]
    drawing.text(beside, GRADES_NOTE, (16, CHART[0].start - 16), FAINT, size=0.42, edge=False)
    draw_grades(picture[CHART], probabilities, graded)
    drawing.save(picture, path)


def _separated(row: Picture) -> Picture:
    """A row of square panels with a line above it and between them."""
    size, width = row.shape[:2]
    row[0] = drawing.LINE
    for column in range(size, width, size):
        row[:, column] = drawing.LINE
    return row


def _describe(beside: Picture, study: Study, landmarks: Landmarks, missing: Sequence[str]) -> None:
    """Study, legend, series and what is missing, above the place of the grades."""
    width = COLUMN - 34
    drawing.text(beside, f"study {study.study_id}", (16, 34), size=0.7, edge=False)
    drawing.text(beside, "for research, not for clinical use", (16, 58), FAINT, edge=False)
    top = _legend(beside, 88)
    for role in SERIES_DESCRIPTIONS:
        if slices := study.slices(role):
            drawing.text(beside, f"{role}: {len(slices)} slices", (16, top), edge=False)
            top += LINE
    levels = "  ".join(f"{value:.2f}" for value in landmarks.confidence)
    drawing.text(beside, f"confidence of the levels: {levels}", (16, top), FAINT, size=0.42, edge=False)
    top += LINE + 8
    lines = [line for words in without_paths(missing) for line in drawing.wrapped(words, width)]
    if len(lines) > MAX_MISSING_LINES:
        lines = [*lines[: MAX_MISSING_LINES - 1], f"and {len(lines) - MAX_MISSING_LINES + 1} lines in report.json"]
    drawing.text(beside, "missing:" if lines else "nothing missing", (16, top), FAINT, edge=False)
    for line in lines:
        top += LINE
        drawing.text(beside, line, (16, top), edge=False)
    drawing.text(beside, "grades are added at the end of the run", (16, CHART[0].start + 30), FAINT, edge=False)


def _legend(beside: Picture, top: int) -> int:
    """The colours and marks; returns the row below."""
    for index, (colour, words) in enumerate(MARKS):
        left, row = 16 + 230 * (index % 2), top + 24 * (index // 2)
        drawing.dot(beside, (left + 6, row - 5), colour)
        drawing.text(beside, words, (left + 20, row), edge=False)
    top += 48
    drawing.ring(beside, (22, top - 5), FAINT)
    for line, words in enumerate(RING_MEANING):
        drawing.text(beside, words, (36, top + LINE * line), edge=False)
    top += LINE * (len(RING_MEANING) - 1) + 26
    left = 16
    for colour, words in zip(SEVERITY_COLOURS, SEVERITY_NAMES, strict=True):
        cv2.rectangle(beside, (left, top - 11), (left + 12, top + 1), colour, -1)
        drawing.text(beside, words, (left + 18, top), edge=False)
        left += 30 + drawing.width_of(words) + 14
    return top + 32
