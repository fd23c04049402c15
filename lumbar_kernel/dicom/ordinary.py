"""Ordinary files read straight from their bytes: one grey frame, uncompressed or RLE, elements as the standard asks.

Nearly all files of an archive are ordinary, and pydicom takes ten times as long for the same values. Whatever is in any
way unusual gives None here and is left to pydicom, and so is everything that would be refused.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR, tag_for_keyword

from lumbar_kernel.dicom.element_walk import (
    CHARACTER_SET,
    CHARACTER_SETS,
    EXPLICIT,
    HEAD_BYTES,
    IMPLICIT,
    PLAIN,
    STORED_CLASS,
    TRANSFER_SYNTAX,
    UNDEFINED,
    Elements,
    WalkedFile,
    elements_before_pixels,
)
from lumbar_kernel.dicom.encoded_frames import MAX_SPARE, fragments
from lumbar_kernel.dicom.rle import decode_frame
from lumbar_kernel.dicom.safe_open import SIZE_LIMIT, read_part

LITTLE_ENDIAN = (IMPLICIT, EXPLICIT)
RLE = b"1.2.840.10008.1.2.5"

CODES = re.compile(rb"[ -}]*\0?")
DECIMALS = re.compile(rb" *[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? *")
UID = re.compile(rb"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*\0?")
INTEGERS = re.compile(rb" *[+-]?[0-9]+ *")
ENCODINGS = {b"ISO_IR 100": "latin-1", b"ISO_IR 192": "utf-8"}
"""Of the texts in the character sets that read ASCII as ASCII; those of any other must be ASCII."""

ACCENTED = re.compile(rb"[ -\[\]-}\x80-\xff]*\0?")
"""The same texts with bytes above ASCII."""

FRAGMENTS_END = b"\xfe\xff\xdd\xe0"

PIXEL_KEYWORDS = (
    "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "RescaleIntercept", "RescaleSlope",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
NEEDED = ("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored")


@dataclass(frozen=True, eq=False)
class OrdinaryHeader:
    """Elements of an ordinary file by keyword, read as pydicom's datasets are.

    Attributes:
        values: keyword → text, number, or list of several; an element without a value is None.
        file_meta: keyword → UID of the file meta information.
    """

    values: Mapping[str, Any]
    file_meta: Mapping[str, Any]

    def get(self, keyword: str, default: Any = None) -> Any:
        """The value of an element, the default where it is absent."""
        return self.values.get(keyword, default)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.values

    def __getattr__(self, keyword: str) -> Any:
        try:
            return self.values[keyword]
        except KeyError:
            raise AttributeError(keyword) from None


def ordinary_header(path: Path, keywords: Iterable[str]) -> OrdinaryHeader | None:
    """The elements of these keywords that an ordinary file has; None for any other.

    A file without pixels is none, nor is one that has any of these elements as a sequence.
    """
    tags = _tags(tuple(keywords))
    for most in HEAD_BYTES:
        try:
            head, size = read_part(path, most)
        except OSError:
            return None
        if size > SIZE_LIMIT:
            return None
        if walked := elements_before_pixels(head, tags):
            return _header(walked.elements, tags)
        if len(head) == size:
            break
    return None


def ordinary_pixels(path: Path) -> tuple[OrdinaryHeader, NDArray[Any]] | None:
    """What an ordinary file says of its pixels, and the stored values (rows, columns) as the bytes have them."""
    tags = _tags(PIXEL_KEYWORDS)
    try:
        content, size = read_part(path, SIZE_LIMIT)
    except OSError:
        return None
    walked = elements_before_pixels(content, tags) if size <= SIZE_LIMIT else None
    header = None if walked is None else _header(walked.elements, tags)
    if walked is None or header is None or not _is_plain_frame(header):
        return None
    stored = _stored(content, walked, header)
    return None if stored is None else (header, stored)


def _is_plain_frame(header: OrdinaryHeader) -> bool:
    """Whether the file holds one grey frame of whole numbers, all of whose bits are where they usually are."""
    if any(header.get(keyword) is None for keyword in NEEDED):
        return False
    return (
        header.SamplesPerPixel == 1
        and header.PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2")
        and header.get("NumberOfFrames", 1) == 1
        and header.BitsAllocated in (8, 16)
        and 1 <= header.BitsStored <= header.BitsAllocated
        and header.get("HighBit", header.BitsStored - 1) == header.BitsStored - 1
        and header.get("PixelRepresentation") in (0, 1)
        and min(header.Rows, header.Columns) > 0
    )


def _stored(content: bytes, walked: WalkedFile, header: OrdinaryHeader) -> NDArray[Any] | None:
    rows, columns, width = header.Rows, header.Columns, header.BitsAllocated // 8
    size = rows * columns * width
    if walked.transfer_syntax == RLE and walked.length == UNDEFINED:
        encoded = _only_fragment(content, walked.start)
        if encoded is None or len(encoded) > 2 * size + MAX_SPARE:
            return None
        values = decode_frame(encoded, rows=rows, columns=columns, bytes_each=width)
    elif walked.transfer_syntax in LITTLE_ENDIAN and walked.length == size + size % 2:
        if len(content) < walked.start + size:
            return None
        values = np.frombuffer(content, f"<u{width}", rows * columns, walked.start).reshape(rows, columns)
    else:
        return None
    if values is None or header.PixelRepresentation == 0:
        return values
    return values.view(f"i{width}")


def _only_fragment(content: bytes, place: int) -> bytes | None:
    """The one fragment of encapsulated pixels, behind the table of offsets (DICOM PS3.5, A.4); None for several."""
    found = [*islice(fragments(content, place), 3)]
    if len(found) != 2:
        return None
    start, fragment = found[1]
    return fragment if content.startswith(FRAGMENTS_END, start + 8 + len(fragment)) else None


@lru_cache(maxsize=16)
def _tags(keywords: tuple[str, ...]) -> Mapping[int, tuple[str, bytes]]:
    """Tag → keyword and VR, with the character set of the texts."""
    found = {int(tag_for_keyword(keyword) or 0): keyword for keyword in (*keywords, "SpecificCharacterSet")}
    return {tag: (keyword, dictionary_VR(tag).encode()) for tag, keyword in found.items()}


def _header(elements: Elements, tags: Mapping[int, tuple[str, bytes]]) -> OrdinaryHeader | None:
    """The elements as values, None where one of them is unusual."""
    character_set = elements.get(CHARACTER_SET, (b"", b""))[1]
    if not CHARACTER_SETS.fullmatch(character_set):
        return None
    encoding = ENCODINGS.get(character_set.rstrip(b"\0 "), "ascii")
    values: dict[str, Any] = {}
    try:
        for tag, (vr, stored) in elements.items():
            if tag >> 16 == 2 or tag == CHARACTER_SET:
                continue
            keyword, usual = tags[tag]
            if vr not in (usual, b""):
                return None
            values[keyword] = _value(usual, stored, encoding)
        return OrdinaryHeader(values, _file_meta(elements.get(STORED_CLASS), elements[TRANSFER_SYNTAX]))
    except ValueError:
        return None


@lru_cache(maxsize=256)
def _file_meta(stored_class: tuple[bytes, bytes] | None, syntax: tuple[bytes, bytes]) -> Mapping[str, Any]:
    """UIDs of the file meta information; raises ValueError for what is none."""
    found = {"TransferSyntaxUID": syntax, "MediaStorageSOPClassUID": stored_class}
    if not all(UID.fullmatch(item[1]) for item in found.values() if item):
        raise ValueError(found)
    return {keyword: pydicom.uid.UID(item[1].rstrip(b"\0").decode("ascii")) for keyword, item in found.items() if item}


@lru_cache(maxsize=4096)
def _value(vr: bytes, stored: bytes, encoding: str) -> Any:
    """The value of an element; the files of a series share most of theirs.

    Raises:
        ValueError: it is unusual, or of a VR that is not read here.
    """
    if vr == b"US":
        return _unpacked("<H", stored)
    if vr == b"FD":
        return _unpacked("<d", stored)
    if vr in (b"DS", b"IS"):
        return _numbers(stored, integers=vr == b"IS")
    if vr in (b"LO", b"SH"):
        usual = PLAIN if encoding == "ascii" else ACCENTED
    else:
        usual, encoding = CODES if vr == b"CS" else PLAIN, "ascii"
    if vr not in (b"CS", b"DA", b"DT", b"LO", b"SH", b"TM", b"UI") or not usual.fullmatch(stored):
        raise ValueError(vr)
    text = stored.rstrip(b"\0 ").decode(encoding)
    return text.split("\\") if "\\" in text else text


def _unpacked(form: str, stored: bytes) -> Any:
    if len(stored) != struct.calcsize(form):
        raise ValueError(stored)
    return struct.unpack(form, stored)[0]


def _numbers(stored: bytes, *, integers: bool) -> Any:
    """One decimal or several, None where there is none."""
    parts = stored.rstrip(b"\0 ").split(b"\\")
    if parts == [b""]:
        return None
    if not all((INTEGERS if integers else DECIMALS).fullmatch(part) for part in parts):
        raise ValueError(stored)
    numbers = [int(part) if integers else float(part) for part in parts]
    return numbers if len(numbers) > 1 else numbers[0]
