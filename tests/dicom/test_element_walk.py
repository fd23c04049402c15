from __future__ import annotations

import struct

import pytest

from lumbar_kernel.dicom.element_walk import leading_elements

META = b"\0" * 128 + b"DICM" + b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
IMPLICIT_META = b"\0" * 128 + b"DICM" + b"\x02\0\x10\0UI\x12\x001.2.840.10008.1.2\0"
STUDY, ROWS = 0x0020000D, 0x00280010
UNDEFINED = 0xFFFFFFFF


def short(tag, vr, value):
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def long(tag, vr, value, length=None):
    length = len(value) if length is None else length
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, length) + value


def implicit(tag, value, length=None):
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


END, ITEM_END = implicit(0xFFFEE0DD, b""), implicit(0xFFFEE00D, b"")
UID, MATRIX = short(STUDY, b"UI", b"1.22"), short(ROWS, b"US", b"\x06\0")
NEXT = short(0x00280011, b"US", b"\x08\0")


def walk(body, head=META):
    return leading_elements(head + body + NEXT, {STUDY, ROWS}, last=ROWS)


def test_wanted_elements_are_found_and_others_skipped():
    body = short(0x00080060, b"CS", b"MR") + long(0x00091001, b"OB", b"x" * 70_000) + UID + MATRIX
    assert walk(body) == {STUDY: (b"UI", b"1.22"), ROWS: (b"US", b"\x06\0")}
    assert walk(MATRIX) == {ROWS: (b"US", b"\x06\0")}


def test_implicit_files_have_no_vr():
    body = implicit(STUDY, b"1.22") + implicit(ROWS, b"\x06\0") + implicit(0x00280011, b"\x08\0")
    assert walk(body, IMPLICIT_META) == {STUDY: (b"", b"1.22"), ROWS: (b"", b"\x06\0")}
    assert walk(UID + MATRIX, IMPLICIT_META) is None  # explicit in spite of its transfer syntax


def test_sequences_of_undefined_length_are_stepped_over_with_what_they_hold():
    inner = long(0x0040A170, b"SQ", implicit(0xFFFEE000, MATRIX + ITEM_END, UNDEFINED) + END, UNDEFINED)
    items = implicit(0xFFFEE000, UID) + implicit(0xFFFEE000, UID + inner + ITEM_END, UNDEFINED)
    assert walk(long(0x00081140, b"SQ", items + END, UNDEFINED) + MATRIX) == {ROWS: (b"US", b"\x06\0")}


def nest(depth):
    """Sequences in sequences."""
    body = b""
    for _ in range(depth):
        body = long(0x00081140, b"SQ", implicit(0xFFFEE000, body + ITEM_END, UNDEFINED) + END, UNDEFINED)
    return body


@pytest.mark.parametrize(
    "content",
    {
        "nothing": b"",
        "no prefix": UID + MATRIX,
        "no transfer syntax": META[:132] + UID + MATRIX,
        "big endian": META.replace(b"1.2.1\0", b"1.2.2\0") + UID + MATRIX,
        "out of order": META + MATRIX + UID,
        "twice": META + UID + UID + MATRIX,
        "an unknown VR": META + short(0x00080060, b"??", b"MR") + UID + MATRIX,
        "no matrix": META + UID + short(0x00280011, b"US", b"\x06\0"),
        "cut in a sequence": META + long(0x00081140, b"SQ", implicit(0xFFFEE000, UID), UNDEFINED),
        "unknown of undefined length": META + long(0x00091001, b"UN", END, UNDEFINED) + MATRIX,
        "no item in a sequence": META + long(0x00081140, b"SQ", UID + END, UNDEFINED) + MATRIX,
        "a bomb of sequences": META + nest(500) + MATRIX,
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_unusual_is_left_to_a_complete_parser(content):
    assert leading_elements(content[1] + NEXT, {STUDY, ROWS}, last=ROWS) is None


@pytest.mark.parametrize("lost", range(1, 40))
def test_a_cut_file_is_left_to_a_complete_parser(lost):
    content = META + UID + MATRIX + NEXT[:8]
    assert leading_elements(content, {STUDY, ROWS}, last=ROWS) is not None
    assert leading_elements(content[:-lost], {STUDY, ROWS}, last=ROWS) is None


def test_sequences_nest_as_deep_as_real_ones_do():
    assert walk(nest(5) + MATRIX) == {ROWS: (b"US", b"\x06\0")}
