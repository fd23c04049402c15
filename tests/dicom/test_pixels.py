from __future__ import annotations

import struct
import sys
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from pydicom import encaps
from pydicom.uid import JPEGLSLossless, RLELossless

from benchmarks.robustness.dicom_files import read_frames, read_headers, save, write_enhanced, write_slice
from lumbar_kernel.dicom.pixels import try_frames
from lumbar_kernel.errors import DicomError
from tests.dicom.conftest import RAMP, only, pixels_of


def test_compressed_pixels_far_longer_than_the_image_are_refused(tmp_path):
    path = write_slice(tmp_path / "1.dcm", np.random.default_rng(0).integers(0, 9999, (300, 300), np.uint16), rle=True)
    raw = path.read_bytes()
    rows = b"\x28\x00\x10\x00US\x02\x00"
    path.write_bytes(raw.replace(rows + b"\x2c\x01", rows + b"\x02\x00"))
    with pytest.raises(DicomError, match=r"1\.dcm: \d+ bytes of compressed pixels for an image of 1200"):
        pixels_of(only(path))


def test_a_picture_that_pillow_finds_too_large_is_refused(tmp_path, monkeypatch):
    class DecompressionBombError(Exception):
        pass

    def too_large(dataset):
        raise DecompressionBombError("exceeds limit")

    (header,) = read_headers(write_slice(tmp_path / "1.dcm"))
    monkeypatch.setattr("lumbar_kernel.dicom.pixels.ordinary_pixels", lambda _: None)
    monkeypatch.setattr("lumbar_kernel.dicom.pixels._stored_values", too_large)
    monkeypatch.setitem(sys.modules, "PIL.Image", SimpleNamespace(DecompressionBombError=DecompressionBombError))
    with pytest.raises(DicomError, match=r"1\.dcm: .*exceeds limit"):
        pixels_of(header)


@pytest.mark.parametrize("rle", [False, True])
def test_truncated_pixels_are_refused_with_the_transfer_syntax(tmp_path, rle):
    path = write_slice(tmp_path / "1.dcm", RAMP, rle=rle)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DicomError, match="RLE Lossless" if rle else "Explicit VR Little Endian"):
        pixels_of(only(path))


def test_rle_decodes_to_what_was_stored(tmp_path):
    pixels = pixels_of(only(write_slice(tmp_path / "1.dcm", RAMP, rle=True)))
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels, RAMP)


def test_rescale_is_applied_when_present_and_ignored_when_it_would_blank(tmp_path):
    scaled = only(write_slice(tmp_path / "1.dcm", RAMP, RescaleSlope=2, RescaleIntercept=-5))
    blank = only(write_slice(tmp_path / "2.dcm", RAMP, RescaleSlope=0, RescaleIntercept=3))
    no_intercept = only(write_slice(tmp_path / "3.dcm", RAMP, RescaleSlope=2))
    assert np.array_equal(pixels_of(scaled), RAMP * 2.0 - 5)
    assert np.array_equal(pixels_of(no_intercept), RAMP * 2.0)
    assert np.array_equal(pixels_of(blank), RAMP)


def test_a_rescale_that_all_frames_share_holds_where_a_frame_has_none_of_its_own(tmp_path):
    path = write_enhanced(tmp_path / "1.dcm", np.stack([RAMP, RAMP]), positions=[(0, 0, 0), (0, 0, 1)])
    dataset = pydicom.dcmread(path)
    own = dataset.PerFrameFunctionalGroupsSequence
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PixelValueTransformationSequence = own[1].PixelValueTransformationSequence  # twice the value and ten
    del own[1].PixelValueTransformationSequence
    dataset.save_as(path)
    assert np.array_equal(read_frames(read_headers(path)), [RAMP + 10.0, RAMP * 2.0 + 10])


def test_a_picture_of_another_size_than_its_header_gives_is_not_decoded(tmp_path):
    dataset = pydicom.dcmread(write_slice(tmp_path / "1.dcm", RAMP))
    dataset.file_meta.TransferSyntaxUID = JPEGLSLossless
    picture = b"\xff\xd8\xff\xf7" + struct.pack(">HBHH", 11, 16, 600, 800) + bytes(8)
    dataset.PixelData = encaps.encapsulate([picture])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    with pytest.raises(DicomError, match=r"its pixels are a picture of \(600, 800\), its header gives 6 × 8"):
        pixels_of(only(save(dataset, tmp_path / "2.dcm")))


def test_signed_pixels_keep_their_sign(tmp_path):
    signed = RAMP.astype(np.int16) - 24
    assert np.array_equal(pixels_of(only(write_slice(tmp_path / "1.dcm", signed))), signed)


def test_bits_above_the_stored_ones_do_not_count(tmp_path):
    twelve = {"BitsStored": 12, "HighBit": 11}
    unsigned = only(write_slice(tmp_path / "1.dcm", RAMP | 0x3000, **twelve))
    negative = only(
        write_slice(tmp_path / "2.dcm", np.full((6, 8), 0x0FFF, np.uint16), PixelRepresentation=1, **twelve)
    )
    assert np.array_equal(pixels_of(unsigned), RAMP)
    assert np.all(pixels_of(negative) == -1)


@pytest.mark.parametrize("rle", [False, True])
@pytest.mark.parametrize("sign", [1, -1])
def test_values_at_the_upper_end_of_their_bits_keep_their_order(tmp_path, sign, rle):
    values = (sign * RAMP.astype(np.int16) * 40) << 4
    stored = values.view(np.uint16) if sign > 0 else values
    path = write_slice(tmp_path / "1.dcm", stored, rle=rle, BitsStored=12, HighBit=15)
    assert np.array_equal(pixels_of(only(path)), sign * 640.0 * RAMP)


def test_a_highest_bit_that_is_wrong_changes_nothing(tmp_path):
    path = write_slice(tmp_path / "1.dcm", RAMP, BitsStored=12, HighBit=15)
    assert np.array_equal(pixels_of(only(path)), RAMP)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_monochrome1_comes_out_with_much_signal_bright(tmp_path, dtype):
    stored = RAMP.astype(dtype)
    pixels = pixels_of(only(write_slice(tmp_path / "1.dcm", stored, PhotometricInterpretation="MONOCHROME1")))
    assert np.all(np.diff(pixels.ravel()) == -1)
    assert np.iinfo(dtype).min <= pixels.min() <= pixels.max() <= np.iinfo(dtype).max


STRIPPED = ("SamplesPerPixel", "PhotometricInterpretation", "PixelRepresentation", "BitsStored", "HighBit")


@pytest.mark.parametrize("rle", [False, True])
@pytest.mark.parametrize("missing", [*((keyword,) for keyword in STRIPPED), STRIPPED])
def test_pixels_without_a_word_on_their_encoding_are_plain_grey_ones(tmp_path, missing, rle):
    whole = write_slice(tmp_path / "1.dcm", RAMP, rle=rle)
    dataset = pydicom.dcmread(whole)
    for keyword in missing:
        del dataset[keyword]
    dataset.save_as(tmp_path / "2.dcm")
    assert np.array_equal(pixels_of(only(tmp_path / "2.dcm")), pixels_of(only(whole)))


def test_the_highest_bit_says_how_many_are_stored(tmp_path):
    path = write_slice(tmp_path / "1.dcm", RAMP | 0x3000, BitsStored=None, HighBit=11)
    assert np.array_equal(pixels_of(only(path)), RAMP)


def test_pixels_of_three_colours_are_not_taken_for_grey_ones(tmp_path):
    colours = {"SamplesPerPixel": None, "PhotometricInterpretation": None, "Rows": 2}
    with pytest.raises(DicomError, match=r"1\.dcm: no SamplesPerPixel and 96 bytes for a grey image of 32"):
        pixels_of(only(write_slice(tmp_path / "1.dcm", RAMP, **colours)))


def test_a_frame_that_is_not_finite_costs_that_frame(tmp_path):
    frames = np.stack([RAMP, RAMP + 1, RAMP + 2])
    path = write_enhanced(tmp_path / "1.dcm", frames, positions=[(0, 0, float(z)) for z in range(3)])
    dataset = pydicom.dcmread(path)
    dataset.PerFrameFunctionalGroupsSequence[1].PixelValueTransformationSequence[0].RescaleSlope = "1E38"
    dataset.save_as(path)
    headers = read_headers(path)
    first, second, third = try_frames(headers)
    assert np.array_equal(first, frames[0] + 10.0)
    assert str(second) == f"{path.parent.name}/1.dcm: the pixels are not all finite (frame 2)"
    assert np.array_equal(third, frames[2] * 3.0 + 10)
    with pytest.raises(DicomError, match=r"finite \(frame 2\)"):
        read_frames(headers)
    with pytest.raises(DicomError, match=r"finite \(frame 2\)"):
        try_frames(headers[1:2])


@pytest.mark.parametrize("damage", ["short frame", "short frame without offsets", "truncated"])
def test_a_frame_that_cannot_be_decoded_costs_that_frame(tmp_path, damage):
    frames = np.random.default_rng(0).integers(0, 999, (3, 24, 16), dtype=np.uint16)
    path = write_enhanced(tmp_path / "1.dcm", frames, positions=[(0, 0, float(z)) for z in range(3)])
    headers = read_headers(path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
        lost = 2
    else:
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless)
        encoded = list(encaps.generate_frames(dataset.PixelData, number_of_frames=3))
        encoded[1] = encoded[1][:-60]
        dataset.PixelData = encaps.encapsulate(encoded, has_bot="without" not in damage)
        dataset.save_as(path)
        lost = 1
    found = try_frames(headers)
    assert f"(frame {lost + 1})" in str(found[lost])
    for number, item in enumerate(found):
        if number != lost:
            assert np.array_equal(item, frames[number] * (number + 1.0) + 10)
    with pytest.raises(DicomError, match=rf"1\.dcm: .* \(frame {lost + 1}\)"):
        read_frames(headers)


@pytest.mark.parametrize("has_offsets", [True, False])
def test_compressed_frames_before_the_place_where_a_file_breaks_off_are_read(tmp_path, has_offsets):
    frames = np.random.default_rng(0).integers(0, 999, (4, 24, 16), dtype=np.uint16)
    path = write_enhanced(tmp_path / "1.dcm", frames, positions=[(0, 0, float(z)) for z in range(4)])
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless)
    encoded = list(encaps.generate_frames(dataset.PixelData, number_of_frames=4))
    dataset.PixelData = encaps.encapsulate(encoded, has_bot=has_offsets)
    dataset.save_as(path)
    content = path.read_bytes()
    for cut, whole in ((content.index(encoded[2]) + 100, 2), (content.index(encoded[3]), 3), (len(content) - 8, 4)):
        path.write_bytes(content[:cut])
        found = try_frames(read_headers(path))
        for number, item in enumerate(found):
            if number < whole:
                assert np.array_equal(item, frames[number] * (number + 1.0) + 10)
            else:
                name = f"{path.parent.name}/1.dcm"
                assert str(item) == f"{name}: the pixels break off before its end (frame {number + 1})"
    path.write_bytes(content[: content.index(encoded[0]) + 100])
    with pytest.raises(DicomError, match=r"1\.dcm: its RLE Lossless pixels cannot be decoded here; the file"):
        try_frames(read_headers(path))


def test_a_file_of_which_no_frame_can_be_decoded_is_refused_as_a_whole(tmp_path):
    path = write_enhanced(tmp_path / "1.dcm", np.stack([RAMP, RAMP]), positions=[(0, 0, 0), (0, 0, 1)])
    headers = read_headers(path)
    path.write_bytes(path.read_bytes()[:-150])
    with pytest.raises(DicomError, match=r"pixels cannot be decoded here") as error:
        try_frames(headers)
    assert "frame 1" not in str(error.value)
