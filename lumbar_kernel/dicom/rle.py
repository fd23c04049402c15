"""RLE Lossless frames, unpacked by the TIFF decoder of OpenCV: both formats store runs of bytes in the same way.

A segment of a DICOM frame (PS3.5, annex G) and a strip of a TIFF picture with PackBits compression (TIFF 6.0, section
9) hold the same packets, and the decoder in C takes a fiftieth of the time of pydicom's in Python. It does not tell
whether a segment was as long as it must be, so each is followed by packets that show it. Frames that are not as the
standard asks are left to pydicom, which says why.
"""

from __future__ import annotations

import struct
import sys
from functools import lru_cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

HEADER = 64
"""Bytes before the first segment: their number, and the places of up to 15."""

MAX_SEGMENTS = 15
PACKBITS, BLACK_IS_ZERO = 32773, 1
SHORT, LONG = 3, 4
"""Types of TIFF fields."""

ORDER = (b"II", "<") if sys.byteorder == "little" else (b"MM", ">")
"""Byte order of the TIFF picture: this machine's, in which the decoder moves no byte."""

MAX_RUN = 128
NOTHING = 128
"""Header of a packet that stands for no byte. As the literal byte that the zero at the end of a padded segment asks for
it is one byte, itself."""

SILENT = 0
"""Level of OpenCV's log (LOG_LEVEL_SILENT)."""

LOGGING: Any = getattr(cv2.utils, "logging", cv2)
"""Where OpenCV sets that level: `cv2` before version 4.13, `cv2.utils.logging` since."""

MARK, FILL = 0xA5, 0x5A
"""Bytes of a row behind a segment, and of what follows it: a segment that is too short leaves the row with both."""


def decode_frame(encoded: bytes, *, rows: int, columns: int, bytes_each: int) -> NDArray[np.unsignedinteger] | None:
    """The unsigned values (rows, columns) of a grey RLE frame, None where it is not as the standard asks.

    Args:
        encoded: the frame's fragment: header and segments, the most significant bytes of all pixels first.
        rows: of the frame.
        columns: of the frame.
        bytes_each: of a pixel, 1 or 2.
    """
    segments = _segments(encoded)
    if len(segments) != bytes_each or min(rows, columns) < 1:
        return None
    height = rows + 2 + rows % 2  # a row of marks and one of filling at least, and even
    end = _end(columns, (height - rows - 1) * columns)
    unpacked = _unpacked(_tiff(segments, end, height=height, width=columns))
    if unpacked is None or unpacked.dtype != np.uint16 or unpacked.size * 2 != bytes_each * height * columns:
        return None
    planes = unpacked.view(np.uint8).reshape(bytes_each, height, columns)
    for plane, segment in zip(planes, segments, strict=True):
        if not _is_marked(plane[rows], padded=segment[-1:] == b"\0"):
            return None
    values: NDArray[np.unsignedinteger] = planes[0, :rows]
    if bytes_each == 1:
        return values
    values = values.astype(np.uint16)
    values <<= 8
    values |= planes[1, :rows]
    return values


def _segments(encoded: bytes) -> list[bytes]:
    """The segments of a frame, none where its header is wrong."""
    if len(encoded) < HEADER:
        return []
    count, *places = struct.unpack_from(f"<{1 + MAX_SEGMENTS}L", encoded)
    if not 1 <= count <= MAX_SEGMENTS:
        return []
    bounds = [*places[:count], len(encoded)]
    if bounds[0] != HEADER or sorted(set(bounds)) != bounds:
        return []
    return [encoded[start:end] for start, end in pairwise(bounds)]


def _unpacked(picture: bytes) -> NDArray[np.generic] | None:
    """A picture from its file, None where the decoder refuses it; nothing is printed about damaged ones."""
    level = LOGGING.getLogLevel()
    LOGGING.setLogLevel(SILENT)
    try:
        return cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        LOGGING.setLogLevel(level)


@lru_cache(maxsize=64)
def _end(marks: int, filling: int) -> bytes:
    """Packets that follow a segment: so many marks in runs, then bytes of filling, each a packet of its own.

    No packet may reach beyond the picture, of which the decoder would complain.
    """
    whole, rest = divmod(marks, MAX_RUN)
    last = bytes((257 - rest, MARK)) if rest > 1 else bytes((0, MARK)) * rest
    return bytes((NOTHING,)) + bytes((257 - MAX_RUN, MARK)) * whole + last + bytes((0, FILL)) * filling


def _is_marked(row: NDArray[np.uint8], *, padded: bool) -> bool:
    """Whether the row behind a segment holds the marks alone, so that the segment filled its rows exactly."""
    first_is_padding = padded and row[0] == NOTHING
    return bool((row[int(first_is_padding) :] == MARK).all())


def _tiff(segments: list[bytes], end: bytes, *, height: int, width: int) -> bytes:
    """A grey TIFF picture in which the segments, each with its end, are strips of height × width bytes.

    Its pixels have two bytes: those of one byte the decoder would bring to colours and back.
    """
    count = len(segments)
    fields = 9
    tables = 8 + 2 + 12 * fields + 4
    place, places, lengths = tables + 8 * count, [], []
    for segment in segments:
        places.append(place)
        lengths.append(len(segment) + len(end))
        place += lengths[-1]
    directory = (
        (256, LONG, 1, width),
        (257, LONG, 1, height // 2 * count),
        (258, SHORT, 1, 16),
        (259, SHORT, 1, PACKBITS),
        (262, SHORT, 1, BLACK_IS_ZERO),
        (273, LONG, count, places[0] if count == 1 else tables),
        (277, SHORT, 1, 1),
        (278, LONG, 1, height // 2),
        (279, LONG, count, lengths[0] if count == 1 else tables + 4 * count),
    )
    mark, order = ORDER
    head = [struct.pack(f"{order}2sHLH", mark, 42, 8, fields)]
    for tag, kind, number, value in directory:
        packed = struct.pack(f"{order}HH", value, 0) if kind == SHORT else struct.pack(f"{order}L", value)
        head.append(struct.pack(f"{order}HHL", tag, kind, number) + packed)
    head.append(struct.pack(f"{order}L{2 * count}L", 0, *places, *lengths))
    return b"".join([*head, *(part for segment in segments for part in (segment, end))])
