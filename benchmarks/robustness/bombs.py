"""DICOM files that unpack to far more than they hold: compressed pixels, deflated data sets, nested sequences."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from benchmarks.robustness.dicom_elements import (
    BITS_ALLOCATED,
    BITS_STORED,
    COLUMNS,
    FRAME_GROUPS,
    HEAD,
    HIGH_BIT,
    PIXEL_DATA,
    ROWS,
    SHARED_GROUPS,
    TRANSFER_SYNTAX,
    UNDEFINED,
    Element,
    Random,
    flip_bits,
    items,
    join,
    split,
    with_element,
    with_numbers,
    with_text,
)

RLE, DEFLATED, JPEG, JPEG_2000 = (
    "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90",
)  # fmt: skip
"""Transfer syntaxes."""


def _encapsulated(elements: list[Element], syntax: str, fragments: list[bytes]) -> list[Element]:
    value = b"".join(items(1, item + bytes(len(item) % 2)) for item in (b"", *fragments))
    value += struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    elements = with_text(elements, TRANSFER_SYNTAX, syntax, b"UI")
    return with_element(elements, Element(PIXEL_DATA, b"OB", value, UNDEFINED))


def rle_bomb(raw: bytes, rng: Random) -> bytes:
    """Runs that unpack to 64 times their size, far more than the matrix holds, or a matrix as large as may be."""
    segment = b"\x81\x00" * int(10 ** rng.uniform(2, 5.5))
    segments = int(rng.choice((1, 2, 2, 15)))
    starts = [64 + index * len(segment) for index in range(segments)] + [0] * (15 - segments)
    fragment = struct.pack("<16L", segments, *starts) + segment * segments
    elements = split(raw)
    if rng.random() < 0.3:
        elements = with_numbers(elements, {ROWS: 4096, COLUMNS: 4096})
    return join(_encapsulated(elements, RLE, [fragment]))


def rle_wrong_lengths(raw: bytes, rng: Random) -> bytes:
    """RLE headers with wrong counts and places of segments."""
    header = rng.integers(0, (20, 1 << 31)[rng.integers(2)], 16).astype("<u4").tobytes()
    return join(_encapsulated(split(raw), RLE, [header + rng.bytes(int(rng.integers(0, 5000)))]))


@lru_cache
def _compressed(kind: str) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.arange(320 * 320, dtype=np.uint32).reshape(320, 320).astype(np.uint8)).save(stream, kind)
    return stream.getvalue()


def jpeg_bomb(raw: bytes, rng: Random) -> bytes:
    """A JPEG or JPEG 2000 stream that claims up to 65500 × 65500."""
    size = int(rng.choice((320, 4096, 12000, 30000, 65500)))
    kind, marker, form = (("JPEG", b"\xff\xc0", ">HH"), ("JPEG2000", b"\xff\x51", ">LL"))[rng.integers(2)]
    stream = bytearray(_compressed(kind))
    start = stream.index(marker) + (5 if kind == "JPEG" else 6)
    struct.pack_into(form, stream, start, size, size)
    if kind == "JPEG2000":
        struct.pack_into(">LL", stream, start + 16, size, size)  # one tile
    elements = with_numbers(split(raw), {BITS_ALLOCATED: 8, BITS_STORED: 8, HIGH_BIT: 7})
    if rng.random() < 0.5 and size <= 4096:
        elements = with_numbers(elements, {ROWS: size, COLUMNS: size})
    return join(_encapsulated(elements, JPEG if kind == "JPEG" else JPEG_2000, [bytes(stream)]))


def _deflated(parts: Iterable[bytes], end: int = zlib.Z_FINISH) -> bytes:
    """A raw deflate stream, to which another can be joined after `Z_FULL_FLUSH`."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return b"".join([packer.compress(part) for part in parts]) + packer.flush(end)


@lru_cache
def _deflated_zeros(megabytes: int) -> bytes:
    return _deflated(itertools.repeat(bytes(1 << 20), megabytes), zlib.Z_FULL_FLUSH)


def deflate_bomb(raw: bytes, rng: Random) -> bytes:
    """A deflated data set, sound or damaged, or one whose private element unpacks to up to a gigabyte."""
    elements = with_text(split(raw), TRANSFER_SYNTAX, DEFLATED, b"UI")
    meta = [item for item in elements if item.tag >> 16 == 2]
    body = join([item for item in elements if item.tag >> 16 != 2])[HEAD:]
    megabytes = int(rng.choice((0, 64, 1024)))
    packed = _deflated([body])
    if megabytes:
        zeros = Element(0x00090010, b"OB", b"", megabytes << 20).encoded()
        packed = _deflated([zeros], zlib.Z_FULL_FLUSH) + _deflated_zeros(megabytes) + packed
    packed = flip_bits(packed, rng) if rng.random() < 0.3 else packed
    return join(meta) + packed


def nested_sequences(raw: bytes, rng: Random) -> bytes:
    """Sequences within sequences up to 3000 deep, or one of up to fifty thousand empty items."""
    tag = int(rng.choice((0x00081140, SHARED_GROUPS, FRAME_GROUPS, 0x00041220, 0x00091001)))
    if rng.random() < 0.5:
        length = UNDEFINED if rng.random() < 0.5 else None
        return join(with_element(split(raw), Element(tag, b"SQ", items(int(10 ** rng.uniform(2, 4.7))), length)))
    start = Element(0x00081140, b"SQ", b"", UNDEFINED).encoded() + struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)
    end = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    depth = int(10 ** rng.uniform(1, 3.5))
    return join(with_element(split(raw), Element(tag, b"SQ", items(1, start * depth + end * depth))))
