"""Encapsulated pixels (DICOM PS3.5, A.4): the encoded bytes of each frame, and the size that a picture claims."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pydicom import encaps

from lumbar_kernel.dicom.safe_open import ITEM, reading
from lumbar_kernel.errors import DicomError

PICTURE_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51")
"""First bytes of a picture in JPEG or JPEG-LS, and in JPEG 2000; no later fragment of one begins with them."""

PICTURE_END = b"\xff\xd9"
"""Last bytes of a picture in all three, before a zero that may make its length even."""

MAX_SPARE = 1 << 16
"""Bytes beyond twice its native size that an encoded image may have; longer ones are bombs."""

PICTURE = re.compile(rb"\xff\xd8(?=\xff[\xc0-\xff])|\xff\x4f\xff\x51.{4}(.{16})", re.DOTALL)
"""The beginning of a picture in either family, with the size that JPEG 2000 has there.

The first one counts: JPEG-LS may have the bytes of the other inside its codes.
"""


def fragments(content: bytes, place: int) -> Iterator[tuple[int, bytes]]:
    """Place and bytes of each fragment from a place on, up to what is no fragment or breaks off."""
    while content.startswith(ITEM, place):
        end = place + 8 + int.from_bytes(content[place + 4 : place + 8], "little")
        if end > len(content):
            return
        yield place, content[place + 8 : end]
        place = end


def encoded_frames(content: bytes, count: int, path: Path) -> list[bytes]:
    """The encoded bytes of `count` frames, up to one that cannot be told from the others."""
    frames: list[bytes] = []
    with suppress(DicomError), reading(path, "the pixels break off"):
        for frame in _fragments_by_frame(content, count):
            frames.append(frame)
    return frames


def _fragments_by_frame(content: bytes, count: int) -> Iterator[bytes]:
    if hasattr(encaps, "generate_frames"):
        return iter(encaps.generate_frames(content, number_of_frames=count))
    return iter(encaps.generate_pixel_data_frame(content, count))  # pydicom 2


def frames_before_end(content: bytes, *, is_rle: bool) -> list[bytes]:
    """The encoded bytes of the whole frames before the place where a file breaks off.

    Pydicom tells frames by the number of fragments, which is not known here. A frame begins with a fragment that the
    table of offsets names; where the table is empty, with any fragment in RLE, which has one for each, else with one
    that begins a picture. Pictures also tell their end.
    """
    first = 8 + int.from_bytes(content[4:8], "little")
    offsets = {offset for (offset,) in struct.iter_unpack("<L", content[8:first])}
    frames: list[list[bytes]] = []
    for place, fragment in fragments(content, first):
        if place - first in offsets if offsets else is_rle or fragment.startswith(PICTURE_STARTS):
            frames.append([])
        frames[-1].append(fragment)
    whole = [b"".join(parts) for parts in frames]
    return [frame for frame in whole if is_rle or frame.rstrip(b"\0").endswith(PICTURE_END)]


def picture_shape(encoded: bytes) -> tuple[int, int] | None:
    """Rows and columns that the first JPEG, JPEG-LS or JPEG 2000 picture claims; None for any other encoding.

    Decoders allocate what a picture claims, so a few bytes may ask for gigabytes.
    """
    start = PICTURE.search(encoded)
    if start is None:
        return None
    if start[1]:
        right, lower, left, upper = struct.unpack(">4I", start[1])
        return lower - upper, right - left
    place = start.end()
    while place + 9 <= len(encoded) and encoded[place] == 0xFF:
        marker, length = encoded[place + 1], int.from_bytes(encoded[place + 2 : place + 4], "big")
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            rows, columns = struct.unpack(">2H", encoded[place + 5 : place + 9])
            return rows, columns
        place += 1 if marker == 0xFF else 2 + length
    return None
