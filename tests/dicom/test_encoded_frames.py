import struct
from pathlib import Path

import pytest
from pydicom.encaps import encapsulate

from lumbar_kernel.dicom.encoded_frames import encoded_frames, frames_before_end, picture_shape

FRAMES = [b"\xff\xd8" + bytes([number]) * (10 + 2 * number) + b"\xff\xd9" for number in range(4)]


@pytest.mark.parametrize("has_offsets", [True, False])
@pytest.mark.parametrize("is_rle", [True, False])
def test_of_pixels_cut_anywhere_every_whole_frame_is_left(has_offsets, is_rle):
    content = encapsulate(FRAMES, has_bot=has_offsets)
    table = 8 + 4 * len(FRAMES) * has_offsets
    ends = [table + sum(8 + len(frame) for frame in FRAMES[: number + 1]) for number in range(len(FRAMES))]
    for cut in range(table, len(content) + 1):
        assert frames_before_end(content[:cut], is_rle=is_rle) == FRAMES[: sum(end <= cut for end in ends)]


@pytest.mark.parametrize("has_offsets", [True, False])
def test_a_frame_in_several_fragments_is_whole_with_its_last_one(has_offsets):
    content = encapsulate(FRAMES, fragments_per_frame=2, has_bot=has_offsets)
    place = content.index(FRAMES[1][:6])
    counts = [len(frames_before_end(content[:cut], is_rle=False)) for cut in range(place, place + 25)]
    assert counts == [1] * 24 + [2]  # two fragments of eight bytes, and the eight that begin the second


def test_frames_are_told_apart_up_to_what_is_no_fragment():
    content = encapsulate(FRAMES, has_bot=True)
    assert encoded_frames(content, 4, Path("a.dcm")) == FRAMES
    place = content.index(FRAMES[2]) - 8
    broken = content[:place] + b"\1" * 8 + content[place + 8 :]
    assert encoded_frames(broken, 4, Path("a.dcm")) == FRAMES[:1]  # the second might go on


def test_the_size_that_a_picture_claims():
    frame = b"\xff\xc0" + struct.pack(">HBHH", 11, 8, 384, 320)
    tables = b"\xff\xc4\x00\x0b" + bytes([9]) * 9  # of Huffman codes, whose marker lies among those of frames
    for before in (b"\xff\xe0\x00\x04ab", tables, b"\xff\xe0\x00\x04ab\xff\xff"):
        assert picture_shape(b"\xff\xd8" + before + frame) == (384, 320)
    size = b"\xff\x4f\xff\x51" + bytes(4) + struct.pack(">4I", 330, 400, 10, 16)
    assert picture_shape(size) == (384, 320)
    assert picture_shape(b"no picture") is None


def test_what_looks_like_another_picture_inside_the_first_one_claims_nothing():
    jpeg_ls = b"\xff\xd8\xff\xf7" + struct.pack(">HBHH", 11, 12, 384, 320) + bytes(9)
    jpeg_2000 = b"\xff\x4f\xff\x51" + bytes(4) + struct.pack(">4I", 30, 40, 10, 16)
    for outer, shape in ((jpeg_ls, (384, 320)), (jpeg_2000, (24, 20))):
        for inner in (jpeg_ls, jpeg_2000):
            assert picture_shape(encapsulate([outer + inner], has_bot=True)) == shape
