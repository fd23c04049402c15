"""The bytes and elements of an Explicit VR Little Endian file, split, changed and joined without checks.

pydicom would refuse to write most of what `mutations` and `bombs` make of them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

Random = np.random.Generator

HEAD = 132
LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
VRS = (*sorted(LONG_VRS), b"AS", b"AT", b"CS", b"DS", b"FD", b"FL", b"IS", b"LO", b"PN", b"SL", b"SS", b"UI", b"US")
UNDEFINED = 0xFFFFFFFF

TRANSFER_SYNTAX, PIXEL_DATA, NUMBER_OF_FRAMES = 0x00020010, 0x7FE00010, 0x00280008
ROWS, COLUMNS, BITS_ALLOCATED, BITS_STORED, HIGH_BIT = 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102
SAMPLES_PER_PIXEL, PIXEL_REPRESENTATION = 0x00280002, 0x00280103
PIXEL_SPACING, POSITION, ORIENTATION = 0x00280030, 0x00200032, 0x00200037
SHARED_GROUPS, FRAME_GROUPS = 0x52009229, 0x52009230


@dataclass(frozen=True)
class Element:
    """One element of the file; `length` is the length it declares, None for the true one."""

    tag: int
    vr: bytes
    value: bytes
    length: int | None = None

    def encoded(self) -> bytes:
        """Its bytes."""
        length = len(self.value) if self.length is None else self.length
        tag = struct.pack("<HH", self.tag >> 16, self.tag & 0xFFFF)
        if self.vr in LONG_VRS:
            return tag + self.vr + b"\0\0" + struct.pack("<L", length & 0xFFFFFFFF) + self.value
        return tag + self.vr + struct.pack("<H", min(length, 0xFFFF)) + self.value


def split(raw: bytes) -> list[Element]:
    """The top-level elements of a file; one of undefined length takes the rest."""
    elements, place = [], HEAD
    while place < len(raw):
        group, number, vr, length = struct.unpack_from("<HH2sH", raw, place)
        place += 8
        if vr in LONG_VRS:
            (length,) = struct.unpack_from("<L", raw, place)
            place += 4
        undefined = length == UNDEFINED
        end = len(raw) if undefined else place + length
        elements.append(Element(group << 16 | number, vr, raw[place:end], UNDEFINED if undefined else None))
        place = end
    return elements


def join(elements: list[Element]) -> bytes:
    """A file of these elements."""
    return b"\0" * 128 + b"DICM" + b"".join(element.encoded() for element in elements)


def with_element(elements: list[Element], new: Element) -> list[Element]:
    """The elements with one replaced or, where it was absent, put in its place."""
    return sorted([item for item in elements if item.tag != new.tag] + [new], key=lambda item: item.tag)


def with_text(elements: list[Element], tag: int, value: str, vr: bytes = b"DS") -> list[Element]:
    """The elements with a text value, padded to even length."""
    old = next((item for item in elements if item.tag == tag), Element(tag, vr, b""))
    raw = value.encode("utf-8", "surrogateescape")
    return with_element(elements, replace(old, value=raw + b" " * (len(raw) % 2)))


def with_numbers(elements: list[Element], numbers: Mapping[int, int]) -> list[Element]:
    """The elements with unsigned shorts, by tag."""
    for tag, value in numbers.items():
        elements = with_element(elements, Element(tag, b"US", struct.pack("<H", value)))
    return elements


def items(count: int, content: bytes = b"") -> bytes:
    """Sequence items or fragments of the same content, one after the other."""
    return (struct.pack("<HHL", 0xFFFE, 0xE000, len(content)) + content) * count


def flip_bits(raw: bytes, rng: Random, *, start: int = 0, end: int | None = None) -> bytes:
    """Up to 64 bits changed anywhere, or between two places; mostly few."""
    changed = np.frombuffer(raw, np.uint8).copy()
    places = rng.integers(start, min(end or len(raw), len(raw)), int(2 ** rng.uniform(0, 6)))
    changed[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    return changed.tobytes()
