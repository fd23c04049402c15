"""Colours, text, marks and files of every picture; patient-oriented slices in the pixels of a panel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lumbar_kernel.arrays import FloatArray
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.intensities import normalise
from lumbar_kernel.resampling import sample
from lumbar_kernel.results.atomic import write_atomic
from lumbar_kernel.study import Slice

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
"""Blue, green and red, as OpenCV orders them."""

BACKGROUND, SURFACE, LINE = (22, 18, 16), (38, 32, 28), (78, 68, 60)
TEXT, FAINT = (244, 240, 236), (206, 198, 190)
SEVERITY_COLOURS: tuple[Colour, ...] = ((170, 190, 60), (60, 184, 245), (96, 72, 240))
"""Normal/mild, moderate, severe: they differ in lightness and from red to green, for the colour-blind."""

CANAL_COLOUR, MARGIN_COLOUR = (248, 208, 90), (255, 255, 255)
SIDE_COLOURS: tuple[Colour, ...] = ((220, 130, 255), (100, 240, 190))
"""Patient left and right."""

RING_RADIUS = 6

SUFFIXES = (".png", ".jpg")
"""What the name of a picture may end in."""

JPEG = (cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
"""Colour in full resolution, or thin marks would blur; a third of the size of a PNG and a tenth of its time."""


def blank(rows: int, columns: int, colour: Colour = BACKGROUND) -> Picture:
    """A picture of one colour."""
    return np.full((rows, columns, 3), colour, np.uint8)


def fitted(grid: SlicePlane, size: int) -> SlicePlane:
    """The field of view of a grid of square pixels in `size` by `size` pixels, its longer side filling them."""
    scale = max(grid.shape) / size
    first = (scale - 1) / 2  # the centre of the new first pixel, so that the outer edges stay where they are
    spacing = grid.row_spacing * scale
    origin = grid.to_mm(np.array([first, first]))
    return replace(grid, origin=origin, row_spacing=spacing, column_spacing=spacing, shape=(size, size))


def grey_panel(item: Slice, grid: SlicePlane) -> Picture:
    """A slice on a grid as a grey picture in three channels."""
    return grey(np.clip(normalise(sample(item, grid)) * 235, 0, 255).astype(np.uint8))


def grey(image: NDArray[np.uint8]) -> Picture:
    """A grey picture (rows, columns) in three channels."""
    return np.repeat(image[:, :, None], 3, axis=2)


def place_of(grid: SlicePlane, point: FloatArray) -> tuple[int, int]:
    """Column and row of a patient point (3,) mm LPS, as OpenCV takes them."""
    row, column = grid.to_pixel(point)
    return round(float(column)), round(float(row))


def dot(panel: Picture, place: tuple[int, int], colour: Colour, *, radius: int = 4) -> None:
    """A point that lies in the slice: filled, with a dark edge that keeps it visible on bright tissue."""
    cv2.circle(panel, place, radius + 1, BACKGROUND, -1, cv2.LINE_AA)
    cv2.circle(panel, place, radius, colour, -1, cv2.LINE_AA)


def ring(panel: Picture, place: tuple[int, int], colour: Colour) -> None:
    """A point of another slice."""
    cv2.circle(panel, place, RING_RADIUS, BACKGROUND, 3, cv2.LINE_AA)
    cv2.circle(panel, place, RING_RADIUS, colour, 1, cv2.LINE_AA)


def text(
    panel: Picture, words: str, place: tuple[int, int], colour: Colour = TEXT, *, size: float = 0.45, edge: bool = True
) -> None:
    """Text from its lower left corner, with a dark edge on images; characters that OpenCV 4 lacks become `?`."""
    plain = words.encode("ascii", "replace").decode()
    # Shifted copies: in OpenCV 5 a thicker text is a wider one.
    around = [(across, down) for across in (-1, 0, 1) for down in (-1, 0, 1)] if edge else []
    for across, down in around:
        at = place[0] + across, place[1] + down
        cv2.putText(panel, plain, at, cv2.FONT_HERSHEY_SIMPLEX, size, BACKGROUND, 1, cv2.LINE_AA)
    cv2.putText(panel, plain, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def width_of(words: str, *, size: float = 0.45) -> int:
    """Width of a text in pixels."""
    (width, _), _ = cv2.getTextSize(words.encode("ascii", "replace").decode(), cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    return int(width)


def wrapped(words: str, width: int) -> list[str]:
    """A text in lines of at most `width` pixels, broken between words; a longer word is cut."""
    lines: list[str] = []
    for word in words.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and width_of(joined) <= width:
            lines[-1] = joined
            continue
        while len(word) > 1 and width_of(word) > width:
            word = word[:-1]
        lines.append(word)
    return lines


def title(panel: Picture, words: str, *, size: float = 0.5) -> None:
    """The title of a panel, in its upper left corner."""
    text(panel, words, (10, 22), size=size)


def edge_marks(panel: Picture, left: str, right: str) -> None:
    """Directions at the two edges of a panel, `R` and `L`, or `A` and `P`."""
    rows, columns = panel.shape[:2]
    text(panel, left, (8, rows // 2), FAINT, size=0.6)
    text(panel, right, (columns - 8 - width_of(right, size=0.6), rows // 2), FAINT, size=0.6)


def check_suffix(path: Path) -> None:
    """Raise ConfigError for a picture whose name says no format that can be written."""
    if path.suffix not in SUFFIXES:
        msg = f"a picture's name must end in {' or '.join(SUFFIXES)}, unlike {path.name!r}"
        raise ConfigError(msg)


def save(picture: Picture, path: Path) -> None:
    """Write a picture in the format that its suffix names; its folder is made.

    Raises:
        ConfigError: the suffix is none of `SUFFIXES`.
        OSError: the file cannot be written.
        ValueError: the picture cannot be encoded.
    """
    check_suffix(path)
    coded, data = cv2.imencode(path.suffix, picture, JPEG if path.suffix == ".jpg" else ())
    if not coded:
        msg = f"the picture {path} could not be encoded"
        raise ValueError(msg)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(data.tobytes(), path, synced=False)


def decoded(coded: bytes, how: int) -> Picture | None:
    """The pixels of a picture's file, read as OpenCV's `how` says; None where the bytes are no picture."""
    picture: Picture | None = cv2.imdecode(np.frombuffer(coded, np.uint8), how) if coded else None  # refuses no bytes
    return picture
