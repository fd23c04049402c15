"""The first elements of a DICOM file straight from its bytes, for files written as the standard asks; else nothing.

Pydicom takes a millisecond for what costs forty microseconds here, and an archive may hold a hundred thousand files.
Whatever is unusual (another byte order, tags out of order, no prefix, an unknown VR) is left to pydicom.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection
from dataclasses import dataclass

from lumbar_kernel.containers import META, has_prefix

Elements = dict[int, tuple[bytes, bytes]]
"""Tag → VR (empty in implicit files) and value as stored, empty for a sequence."""

HEAD_BYTES = (1 << 13, 1 << 18)
"""First bytes of a file that are looked at; the second try is for headers with long private elements."""

STORED_CLASS, TRANSFER_SYNTAX, CHARACTER_SET = 0x00020002, 0x00020010, 0x00080005
FLOAT_PIXELS, PIXEL_DATA = 0x7FE00008, 0x7FE00010

IMPLICIT, EXPLICIT = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1"
BIG_ENDIAN, DEFLATED = b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99"
"""UIDs of transfer syntaxes; all others are explicit and little-endian."""

SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
"""VRs with lengths of two and of four bytes (DICOM PS3.5, 7.1.2)."""

CHARACTER_SETS = re.compile(rb"(?:ISO[_ ](?:2022 )?IR[ 0-9]+|GBK|GB18030|[\\ ])*\0?")
PLAIN = re.compile(rb"[ -\[\]-}]*\0?")
"""ASCII that every character set of DICOM reads alike, without backslash and tilde, which Japanese ones replace."""

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
DEEPEST = 16
"""Nested sequences that are followed."""

_explicit_header = struct.Struct("<HH2sH").unpack_from
_implicit_header = struct.Struct("<HHL").unpack_from
_long = struct.Struct("<L").unpack_from


class UnusualError(Exception):
    """The bytes need a complete parser."""


@dataclass(frozen=True)
class WalkedFile:
    """The elements before the pixels of a file, and where the pixels lie.

    Attributes:
        elements: those that were wanted, with the class and the transfer syntax of the file meta information.
        start: place of the value of PixelData.
        length: of that value, `UNDEFINED` where it is encapsulated.
    """

    elements: Elements
    start: int
    length: int

    @property
    def transfer_syntax(self) -> bytes:
        """UID without its padding."""
        return self.elements[TRANSFER_SYNTAX][1].rstrip(b"\0 ")


def elements_before_pixels(content: bytes, wanted: Collection[int]) -> WalkedFile | None:
    """The wanted elements of a file up to its PixelData; None where it is in any way unusual or has none.

    Args:
        content: first bytes of a file, up to its pixels at least.
        wanted: tags, as group << 16 | element.
    """
    if not has_prefix(content):
        return None
    try:
        meta, start, explicit = _meta(content)
        found, place = _walk(content, start, wanted, FLOAT_PIXELS - 1, explicit=explicit)
        tag, _, length, place = _header(content, place, explicit=explicit)
    except (UnusualError, struct.error):
        return None
    return WalkedFile(meta | found, place, length) if tag == PIXEL_DATA else None


def leading_elements(head: bytes, wanted: Collection[int], *, last: int) -> Elements | None:
    """The wanted elements of a file up to a tag that must be there.

    Args:
        head: first bytes of a file.
        wanted: tags, as group << 16 | element.
        last: the last of them; an element of this tag must exist.

    Returns:
        The elements found, None where the bytes are too few or in any way unusual.
    """
    if not has_prefix(head):
        return None
    try:
        _, start, explicit = _meta(head)
        found, _ = _walk(head, start, wanted, last, explicit=explicit)
    except (UnusualError, struct.error):
        return None
    return found if last in found else None


def _meta(head: bytes) -> tuple[Elements, int, bool]:
    """Class and transfer syntax in the file meta information, where the data set begins, and whether it has VRs."""
    place, found = META, {}
    while head[place : place + 2] == b"\x02\x00":
        _, element, vr, length = _explicit_header(head, place)
        if vr in LONG:
            (length,) = _long(head, place + 8)
            place += 4
        elif vr not in SHORT:
            raise UnusualError
        place += 8
        if (tag := 0x00020000 | element) in (STORED_CLASS, TRANSFER_SYNTAX):
            found[tag] = vr, head[place : place + length]
        place += length
    syntax = found.get(TRANSFER_SYNTAX, (b"", b""))[1].rstrip(b"\0 ")
    if not syntax or syntax in (BIG_ENDIAN, DEFLATED):
        raise UnusualError
    return found, place, syntax != IMPLICIT


def _walk(head: bytes, place: int, wanted: Collection[int], last: int, *, explicit: bool) -> tuple[Elements, int]:
    """Elements in rising order of their tags, and the place of the first beyond the last, which shows none is late."""
    found: Elements = {}
    before = 0x0002FFFF
    while True:
        start = place
        tag, vr, length, place = _header(head, place, explicit=explicit)
        if tag <= before:
            raise UnusualError
        before = tag
        if tag > last:
            return found, start
        if length == UNDEFINED:
            if explicit and vr != b"SQ":
                raise UnusualError
            place = _after_sequence(head, place, explicit=explicit, depth=0)
            if tag in wanted:
                found[tag] = vr, b""
        else:
            if tag in wanted:
                found[tag] = vr, head[place : place + length]
            place += length
            if place > len(head):
                raise UnusualError


def _header(head: bytes, place: int, *, explicit: bool) -> tuple[int, bytes, int, int]:
    """Tag, VR and length of the element at a place, and the place of its value."""
    if not explicit:
        group, element, length = _implicit_header(head, place)
        letters = head[place + 4 : place + 6]
        if letters in SHORT or letters in LONG:  # the file is explicit in spite of its transfer syntax
            raise UnusualError
        return group << 16 | element, b"", length, place + 8
    group, element, vr, length = _explicit_header(head, place)
    if vr in SHORT:
        return group << 16 | element, vr, length, place + 8
    if vr in LONG:
        return group << 16 | element, vr, _long(head, place + 8)[0], place + 12
    raise UnusualError


def _after_sequence(head: bytes, place: int, *, explicit: bool, depth: int) -> int:
    """The place behind a sequence of undefined length (DICOM PS3.5, 7.5)."""
    if depth > DEEPEST:
        raise UnusualError
    while True:
        group, element, length = _implicit_header(head, place)
        tag, place = group << 16 | element, place + 8
        if tag == SEQUENCE_END:
            return place
        if tag != ITEM:
            raise UnusualError
        place = place + length if length != UNDEFINED else _after_item(head, place, explicit=explicit, depth=depth)


def _after_item(head: bytes, place: int, *, explicit: bool, depth: int) -> int:
    while True:
        group, element, _ = _implicit_header(head, place)
        if group << 16 | element == ITEM_END:
            return place + 8
        _, vr, length, place = _header(head, place, explicit=explicit)
        if length != UNDEFINED:
            place += length
        elif explicit and vr != b"SQ":
            raise UnusualError
        else:
            place = _after_sequence(head, place, explicit=explicit, depth=depth + 1)
