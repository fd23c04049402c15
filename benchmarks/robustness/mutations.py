"""Ways to break a DICOM file: `KINDS` maps the name of each to a function that puts a broken file at a path.

A mutation works on the bytes of an Explicit VR Little Endian file, whose elements `dicom_elements` splits and joins.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.robustness.bombs import deflate_bomb, jpeg_bomb, nested_sequences, rle_bomb, rle_wrong_lengths
from benchmarks.robustness.dicom_elements import (
    BITS_ALLOCATED,
    BITS_STORED,
    COLUMNS,
    FRAME_GROUPS,
    HEAD,
    HIGH_BIT,
    NUMBER_OF_FRAMES,
    ORIENTATION,
    PIXEL_REPRESENTATION,
    PIXEL_SPACING,
    POSITION,
    ROWS,
    SAMPLES_PER_PIXEL,
    SHARED_GROUPS,
    TRANSFER_SYNTAX,
    UNDEFINED,
    VRS,
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

Change = Callable[[bytes, Random], bytes]
Placing = Callable[[Path, bytes, Random], None]

NUMBERS = {
    ROWS: (0, 1, 17, 4096, 32768, 65535),
    COLUMNS: (0, 1, 17, 4096, 32768, 65535),
    BITS_ALLOCATED: (0, 1, 7, 8, 12, 24, 32, 64, 65535),
    BITS_STORED: (0, 1, 8, 15, 17, 32, 65535),
    HIGH_BIT: (0, 7, 16, 65535),
    SAMPLES_PER_PIXEL: (0, 2, 3, 65535),
    PIXEL_REPRESENTATION: (1, 2, 65535),
}
TEXTS = {
    PIXEL_SPACING: (
        "0\\0", "-1\\-1", "nan\\nan", "inf\\1", "1e300\\1e300", "1e-300\\1e-300", "100\\100", "1e-5\\1e-5", "1", "a\\b",
        "", "1\\2\\3", "1\\", "9" * 400,
    ),
    ORIENTATION: (
        "0\\0\\0\\0\\0\\0", "", "1\\0\\0\\1\\0\\0", "nan\\0\\0\\0\\1\\0", "1\\0\\0", "2\\0\\0\\0\\2\\0", "x",
        "1e300\\0\\0\\0\\1\\0", "1\\0\\0\\0\\1\\0\\0",
    ),
    POSITION: (
        "", "nan\\0\\0", "1e300\\1e300\\1e300", "1e6\\0\\0", "-inf\\0\\0", "0\\0", "a\\b\\c", "0\\0\\0\\0",
        "1e308\\0\\0",
    ),
    NUMBER_OF_FRAMES: ("0", "-1", "2", "500", "134217728", "2147483647", "99999999999999999999", "1.5", "two", "1\\2"),
    0x00200013: ("", "-5", "1e300", "9" * 16, "nan", "x", "1\\2"),  # InstanceNumber
    0x00180081: ("", "-1", "nan", "1e400", "fast", "9" * 400),  # EchoTime
    0x00180080: ("", "-1", "nan", "1e400", "slow", "inf"),  # RepetitionTime
    0x00281053: ("0", "1e300", "nan", "-1", "inf", "x", "1\\2"),  # RescaleSlope
    0x00281052: ("1e300", "nan", "x"),  # RescaleIntercept
    0x0020000D: ("", "..", "/", "../../etc/passwd", "1" * 5000, "a\nb,c", "\x01\x02", "\udcff"),  # StudyInstanceUID
    0x0020000E: ("", "..", "/", "x/../y", "2" * 5000, "a\nb,c", "\x01\x02"),  # SeriesInstanceUID
    0x0008103E: ("", "localizer", "T1 T2 STIR DWI", "\x1b$B\x00", "x" * 60000),  # SeriesDescription
    0x00080005: ("ISO 2022 IR 87", "nonsense", "\\" * 500, "utf8"),  # SpecificCharacterSet
    0x00080060: ("CT", "", "MR\\CT", "\x00"),  # Modality
    0x00280004: ("RGB", "MONOCHROME1", "PALETTE COLOR", "", "x", "YBR_FULL"),  # PhotometricInterpretation
}  # fmt: skip
SYNTAXES = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.201", "1.2.3",
)  # fmt: skip


# ---- bytes


def flip_header_bits(raw: bytes, rng: Random) -> bytes:
    """Bits changed before the pixels."""
    return flip_bits(raw, rng, start=HEAD, end=HEAD + sum(len(item.encoded()) for item in split(raw)[:-1]))


def truncate(raw: bytes, rng: Random) -> bytes:
    """The file cut at a random place, in the header as often as in the pixels."""
    return raw[: rng.integers(0, 2000 if rng.random() < 0.5 else len(raw))]


def overwrite(raw: bytes, rng: Random) -> bytes:
    """A stretch replaced by zeros, ones or noise."""
    start, length = int(rng.integers(0, len(raw))), int(rng.integers(1, 4096))
    noise = (bytes(length), b"\xff" * length, rng.bytes(length))[rng.integers(3)]
    return raw[:start] + noise + raw[start + length :]


def shift(raw: bytes, rng: Random) -> bytes:
    """A few bytes lost, added or doubled, which shifts everything after them."""
    start, length = int(rng.integers(HEAD, len(raw))), int(rng.integers(1, 33))
    return (
        raw[:start] + raw[start + length :],
        raw[:start] + rng.bytes(length) + raw[start:],
        raw[: start + length] + raw[start:],
    )[rng.integers(3)]


# ---- elements


def delete_tags(raw: bytes, rng: Random) -> bytes:
    """One to five elements missing."""
    elements = split(raw)
    gone = set(rng.choice(len(elements), rng.integers(1, 6), replace=False).tolist())
    return join([item for index, item in enumerate(elements) if index not in gone])


def delete_meta(raw: bytes, rng: Random) -> bytes:
    """No preamble, no file meta, or neither."""
    elements = [item for item in split(raw) if item.tag >> 16 != 2]
    return (raw[HEAD:], join(elements), join(elements)[HEAD:])[rng.integers(3)]


def invalid_number(raw: bytes, rng: Random) -> bytes:
    """Absurd values in the tags that describe the matrix."""
    tags = rng.choice(list(NUMBERS), rng.integers(1, 4), replace=False).tolist()
    return join(with_numbers(split(raw), {tag: int(rng.choice(NUMBERS[tag])) for tag in tags}))


def invalid_text(raw: bytes, rng: Random) -> bytes:
    """Absurd values in a place, a spacing, a time, a name."""
    tag = int(rng.choice(list(TEXTS)))
    return join(with_text(split(raw), tag, str(rng.choice(TEXTS[tag]))))


def wrong_frames(raw: bytes, rng: Random) -> bytes:
    """A wrong NumberOfFrames, sometimes with functional groups, consistent or not."""
    elements = with_text(split(raw), NUMBER_OF_FRAMES, str(rng.choice(TEXTS[NUMBER_OF_FRAMES])), b"IS")
    if rng.random() < 0.6:
        elements = with_element(elements, Element(FRAME_GROUPS, b"SQ", items(int(rng.integers(0, 600)))))
    if rng.random() < 0.5:
        elements = with_element(elements, Element(SHARED_GROUPS, b"SQ", items(1)))
    return join(elements)


def wrong_vr(raw: bytes, rng: Random) -> bytes:
    """One to three elements under another value representation."""
    elements = split(raw)
    for index in rng.choice(len(elements), rng.integers(1, 4), replace=False).tolist():
        elements[index] = replace(elements[index], vr=VRS[rng.integers(len(VRS))])
    return join(elements)


def wrong_length(raw: bytes, rng: Random) -> bytes:
    """An element that claims to be longer or shorter than it is."""
    elements = split(raw)
    index = int(rng.integers(len(elements)))
    claim = (0, 1, 3, 0xFFFE, 0x7FFFFFFF, 0xFFFFFFFE, UNDEFINED)[rng.integers(7)]
    elements[index] = replace(elements[index], length=claim)
    return join(elements)


def wrong_size(raw: bytes, rng: Random) -> bytes:
    """Fewer or more pixels than the matrix needs."""
    elements = split(raw)
    pixels = elements[-1]
    size = int(rng.choice((0, 1, 2, len(pixels.value) // 2, len(pixels.value) - 1, 3 * len(pixels.value))))
    return join([*elements[:-1], replace(pixels, value=(pixels.value * 3)[:size])])


def wrong_syntax(raw: bytes, rng: Random) -> bytes:
    """Another transfer syntax than the pixels have."""
    return join(with_text(split(raw), TRANSFER_SYNTAX, str(rng.choice(SYNTAXES)), b"UI"))


def other_pixels(raw: bytes, rng: Random) -> bytes:
    """Float or double pixels, some of them not finite, or palettes and overlays where pixels were."""
    elements, tag = split(raw)[:-1], (0x7FE00008, 0x7FE00009, 0x60003000)[rng.integers(3)]
    pixels = rng.normal(size=320 * 320).astype("<f8" if tag == 0x7FE00009 else "<f4")
    pixels[rng.integers(0, len(pixels), 3)] = rng.choice((np.nan, np.inf, 3e38))
    elements = with_numbers(elements, {BITS_ALLOCATED: 8 * pixels.dtype.itemsize, ROWS: 320, COLUMNS: 320})
    vr = {0x7FE00008: b"OF", 0x7FE00009: b"OD"}.get(tag, b"OW")
    return join(with_element(elements, Element(tag, vr, pixels.tobytes())))


# ---- no DICOM at all


def foreign_file(raw: bytes, rng: Random) -> bytes:
    """Text, nothing, noise, other formats, or just a DICOM prefix."""
    return (
        b"", b"no image\n" * 50, rng.bytes(5000), b"\x89PNG\r\n\x1a\n" + rng.bytes(2000),
        b"PK\x03\x04" + rng.bytes(2000), raw[:HEAD], raw[:HEAD] + rng.bytes(3000),
        b"\x08\x00" + rng.bytes(3000), bytes(100_000), raw[HEAD:][::-1],
    )[rng.integers(10)]  # fmt: skip


def no_file(path: Path, raw: bytes, rng: Random) -> None:
    """A folder, pipe, socket, device, broken or circular link in place of a file."""
    kind = int(rng.integers(8))
    if kind == 0:
        path.mkdir()
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        _socket(path)
    elif kind == 3:
        path.symlink_to(rng.choice(("/dev/zero", "/dev/full", "/dev/null", "/dev/tty")))
    elif kind == 4:
        path.symlink_to("gone.dcm")
    elif kind == 5:
        path.symlink_to(path.name)
    elif kind == 6:
        path.symlink_to(path.parent)
    else:
        path.write_bytes(raw[: HEAD + int(rng.integers(0, 600))])
        os.truncate(path, 1 << 33)  # eight gigabytes of hole


def _socket(path: Path) -> None:
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # an address holds 107 bytes
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


def _written(change: Change) -> Placing:
    def place(path: Path, raw: bytes, rng: Random) -> None:
        path.write_bytes(change(raw, rng))

    return place


CHANGES: dict[str, Change] = {
    "bits": flip_bits,
    "bits of the header": flip_header_bits,
    "cut": truncate,
    "overwritten": overwrite,
    "shifted": shift,
    "tags gone": delete_tags,
    "meta gone": delete_meta,
    "nonsense numbers": invalid_number,
    "nonsense text": invalid_text,
    "wrong frames": wrong_frames,
    "wrong VR": wrong_vr,
    "wrong length": wrong_length,
    "wrong size": wrong_size,
    "wrong syntax": wrong_syntax,
    "other pixels": other_pixels,
    "RLE bomb": rle_bomb,
    "RLE lies": rle_wrong_lengths,
    "JPEG bomb": jpeg_bomb,
    "deflate bomb": deflate_bomb,
    "sequences": nested_sequences,
    "foreign_file": foreign_file,
}
"""Mutations that end in the bytes of a file."""

KINDS: dict[str, Placing] = {name: _written(change) for name, change in CHANGES.items()} | {"no file": no_file}
