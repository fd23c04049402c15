from __future__ import annotations

import csv
import os
import re
import shutil
import sys
import tracemalloc
import warnings
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest

from benchmarks.robustness.dicom_files import AXIAL, SAGITTAL, dataset_of, save, write_enhanced, write_slice
from lumbar_kernel.dicom.headers import FRAME_LIMIT, read_headers, read_identity
from lumbar_kernel.dicom.pixels import read_frames
from lumbar_kernel.dicom.safe_open import HEADER_LIMIT, looks_like_dicom
from lumbar_kernel.errors import DicomError
from tests.real_data import SHARED, unpack

RAMP = np.arange(48, dtype=np.uint16).reshape(6, 8)


def only(path: Path):
    (header,) = read_headers(path)
    return header


def pixels_of(header):
    return read_frames([header])[0]


def test_rows_and_columns_keep_their_own_spacing(tmp_path):
    plane = only(write_slice(tmp_path / "1.dcm", position=(1, 2, 3), orientation=SAGITTAL, PixelSpacing=[2, 3])).plane
    assert (plane.row_spacing, plane.column_spacing, plane.shape) == (2, 3, (6, 8))
    assert plane.to_mm(np.array([1.0, 0.0])) == pytest.approx([1, 2, 1])
    assert plane.to_mm(np.array([0.0, 1.0])) == pytest.approx([1, 5, 3])


def test_header_says_what_the_tags_say(tmp_path):
    tags = {"EchoTime": 90, "RepetitionTime": 3000, "InversionTime": 160, "ScanningSequence": ["SE", "IR"]}
    header = only(write_slice(tmp_path / "7.dcm", SeriesDescription=" T2 sag ", InstanceNumber=4, **tags))
    assert (header.echo_time, header.repetition_time, header.inversion_time) == (90, 3000, 160)
    assert (header.scanning_sequence, header.series_description) == ("SE\\IR", "T2 sag")
    assert (header.instance_number, header.frame, header.modality) == (4, None, "MR")


def test_number_in_the_file_name_stands_in_for_a_missing_instance_number(tmp_path):
    assert only(write_slice(tmp_path / "IM-12.dcm")).instance_number == 12
    assert only(write_slice(tmp_path / "slice.dcm")).instance_number is None


@pytest.mark.parametrize("missing", ["Modality", "SOPClassUID", "StudyInstanceUID", "SliceThickness", "InstanceNumber"])
def test_a_missing_tag_that_nothing_needs_is_no_reason_to_refuse(tmp_path, missing):
    assert np.array_equal(pixels_of(only(write_slice(tmp_path / "1.dcm", **{missing: None}))), RAMP)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"position": None}, "no ImagePositionPatient"),
        ({"orientation": None}, "no ImageOrientationPatient"),
        ({"orientation": (1, 0, 0, 1, 0, 0)}, "right angle"),
        ({"orientation": (0, 0, 0, 0, 1, 0)}, "right angle"),
        ({"PixelSpacing": None}, "no PixelSpacing"),
        ({"PixelSpacing": [0, 1]}, "PixelSpacing is 0 × 1"),
        ({"PixelSpacing": [1, 1e-5]}, "PixelSpacing is 1 × 1e-05"),
        ({"PixelSpacing": [1, 1000]}, "6 × 8000 mm, expected"),
        ({"position": (0, 0, 1e5)}, "ImagePositionPatient is .* away"),
        ({"PixelSpacing": [1]}, "PixelSpacing"),
        ({"Modality": "CT"}, "Modality is 'CT'"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4.2"}, "spectroscopy"),
        ({"SOPClassUID": "1.2.840.10008.1.3.10"}, "DICOMDIR"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
        ({"Rows": 0}, "matrix is 0 × 8"),
        ({"Rows": 65535, "Columns": 65535}, f"limit of {FRAME_LIMIT}"),
        ({"NumberOfFrames": 2_000_000_000}, "limit"),
        ({"NumberOfFrames": -1}, "NumberOfFrames is -1"),
        ({"NumberOfFrames": 2}, "no positions of their own"),
    ],
)
def test_unusable_header_is_refused_with_its_reason(tmp_path, tags, reason):
    with pytest.raises(DicomError, match=reason):
        read_headers(write_slice(tmp_path / "1.dcm", **tags))


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b"no image\n" * 99, "not a DICOM file")])
def test_file_that_is_no_dicom_is_refused(tmp_path, content, reason):
    (tmp_path / "1.dcm").write_bytes(content)
    with pytest.raises(DicomError, match=reason):
        read_headers(tmp_path / "1.dcm")
    assert read_identity(tmp_path / "1.dcm") is None


def deflated(path: Path, *elements: bytes) -> Path:
    """A deflated slice with these elements, as the file has them, before its own."""
    raw = write_slice(path).read_bytes()
    place = 132 + 12 + int.from_bytes(raw[140:144], "little")
    meta = raw[:place].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99").replace(b"UI\x14\0", b"UI\x16\0")
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path.write_bytes(meta + packer.compress(b"".join(elements) + raw[place:]) + packer.flush())
    return path


def test_a_deflated_file_is_read(tmp_path):
    assert np.array_equal(pixels_of(only(deflated(tmp_path / "1.dcm"))), RAMP)


def test_a_deflated_bomb_is_refused_before_it_fills_the_memory(tmp_path):
    size = 4 * HEADER_LIMIT
    private = b"\x07\0\x10\0OB\0\0" + size.to_bytes(4, "little") + bytes(size)
    path = deflated(tmp_path / "1.dcm", private)
    tracemalloc.start()
    with pytest.raises(DicomError, match=rf"1\.dcm: the header is longer than {HEADER_LIMIT} bytes"):
        read_headers(path)
    assert read_identity(path) is None
    assert tracemalloc.get_traced_memory()[1] < 3 * HEADER_LIMIT
    tracemalloc.stop()


def test_a_header_without_end_is_refused(tmp_path):
    dataset = dataset_of(RAMP, ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=list(AXIAL))
    dataset.add_new(0x00091001, "OB", bytes(HEADER_LIMIT))
    with pytest.raises(DicomError, match="header is longer"):
        read_headers(save(dataset, tmp_path / "1.dcm"))


def test_what_follows_the_pixels_is_not_read(tmp_path):
    path = write_slice(tmp_path / "1.dcm")
    path.write_bytes(path.read_bytes() + b"\xfc\xff\xfc\xffSQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * 9)
    assert np.array_equal(pixels_of(only(path)), RAMP)


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
    monkeypatch.setattr("lumbar_kernel.dicom.pixels._stored_values", too_large)
    monkeypatch.setitem(sys.modules, "PIL.Image", SimpleNamespace(DecompressionBombError=DecompressionBombError))
    with pytest.raises(DicomError, match=r"1\.dcm: .*exceeds limit"):
        pixels_of(header)


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "linked device", "hole", "link to itself"])
def test_what_is_no_file_of_bearable_size_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "1.dcm"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "hole":
        shutil.copy(write_slice(tmp_path / "2.dcm"), path)
        os.truncate(path, 1 << 40)
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        path.symlink_to("/dev/zero" if kind == "linked device" else path)
    reason = {"hole": "over the limit", "link to itself": "symbolic links"}.get(kind, "not a file")
    with pytest.raises(DicomError, match=f"{path.name}: .*{reason}"):
        read_headers(path)
    assert read_identity(path) is None
    assert not looks_like_dicom(path) or kind == "hole"


def test_file_without_pixels_is_refused(tmp_path):
    dataset = dataset_of(RAMP, ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=list(AXIAL))
    del dataset.PixelData
    with pytest.raises(DicomError, match="no pixel data"):
        read_headers(save(dataset, tmp_path / "1.dcm"))


@pytest.mark.parametrize("rle", [False, True])
def test_truncated_pixels_are_refused_with_the_transfer_syntax(tmp_path, rle):
    path = write_slice(tmp_path / "1.dcm", RAMP, rle=rle)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DicomError, match="RLE Lossless" if rle else "Explicit VR Little Endian"):
        pixels_of(only(path))


def test_a_file_cut_anywhere_is_read_or_refused_but_never_crashes(tmp_path):
    whole = write_slice(tmp_path / "1.dcm", RAMP, rle=True).read_bytes()
    for length in range(0, len(whole) - 4, 7):  # the last four say that nothing more follows
        (tmp_path / "2.dcm").write_bytes(whole[:length])
        with pytest.raises(DicomError):
            read_frames(read_headers(tmp_path / "2.dcm"))


def test_bytes_changed_anywhere_are_read_or_refused_but_never_crash(tmp_path):
    whole = write_slice(tmp_path / "1.dcm", RAMP, rle=True).read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        changed = np.frombuffer(whole, np.uint8).copy()
        changed[random.integers(132, len(changed), 5)] = random.integers(0, 256, 5)
        (tmp_path / "2.dcm").write_bytes(changed.tobytes())
        try:
            read_frames(read_headers(tmp_path / "2.dcm"))
        except DicomError:
            refused += 1
    assert 0 < refused < 300


def test_rle_decodes_to_what_was_stored(tmp_path):
    pixels = pixels_of(only(write_slice(tmp_path / "1.dcm", RAMP, rle=True)))
    assert pixels.dtype == np.float32
    assert np.array_equal(pixels, RAMP)


def test_rescale_is_applied_when_present_and_ignored_when_it_would_blank(tmp_path):
    scaled = only(write_slice(tmp_path / "1.dcm", RAMP, RescaleSlope=2, RescaleIntercept=-5))
    blank = only(write_slice(tmp_path / "2.dcm", RAMP, RescaleSlope=0, RescaleIntercept=3))
    assert np.array_equal(pixels_of(scaled), RAMP * 2.0 - 5)
    assert np.array_equal(pixels_of(blank), RAMP)


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


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_monochrome1_comes_out_with_much_signal_bright(tmp_path, dtype):
    stored = RAMP.astype(dtype)
    pixels = pixels_of(only(write_slice(tmp_path / "1.dcm", stored, PhotometricInterpretation="MONOCHROME1")))
    assert np.all(np.diff(pixels.ravel()) == -1)
    assert np.iinfo(dtype).min <= pixels.min() <= pixels.max() <= np.iinfo(dtype).max


def test_enhanced_file_gives_every_frame_its_place_and_rescale(tmp_path):
    frames = np.stack([RAMP, RAMP + 1, RAMP + 2])
    headers = read_headers(write_enhanced(tmp_path / "1.dcm", frames, positions=[(0, 0, 5), (0, 0, 1), (0, 0, 9)]))
    assert [header.plane.origin[2] for header in headers] == [5, 1, 9]
    assert {(header.plane.row_spacing, header.plane.column_spacing) for header in headers} == {(2, 3)}
    for frame, pixels in zip([2, 0], read_frames([headers[2], headers[0]]), strict=True):
        assert np.array_equal(pixels, frames[frame] * (frame + 1.0) + 10)


def test_frames_of_two_files_are_not_mixed(tmp_path):
    headers = [only(write_slice(tmp_path / f"{name}.dcm")) for name in "ab"]
    with pytest.raises(ValueError, match="one file at a time"):
        read_frames(headers)


@pytest.fixture(scope="session")
def odd_files(tmp_path_factory):
    return unpack("odd_mr_dicom", "files.zip", into=tmp_path_factory.mktemp("odd"))


def odd_index() -> list[dict[str, str]]:
    index = SHARED / "odd_mr_dicom" / "index.csv"
    return list(csv.DictReader(index.read_text().splitlines())) if index.is_file() else []


# what is refused for what it is, whatever decoders are installed, by the end of its path
REFUSED = {
    "nested_priv_SQ.dcm": "matrix is 0 × 0",
    "JPEGLSNearLossless_08.dcm": "no ImagePositionPatient",
    "JPEGLSNearLossless_16.dcm": "no ImagePositionPatient",
    "dwv-test-simple.dcm": "no ImageOrientationPatient",
    "dwv-test-anonymise.dcm": "no ImageOrientationPatient",
    "dwv-test-sequence.dcm": "no ImageOrientationPatient",
    "BRTUMSP3": "spectroscopy",
    "BRSV003": "spectroscopy",
    "csa_slice_norm.dcm": "no pixel data",
    "emri_small_jpeg_2k_lossless.dcm": "no positions of their own",
    "emri_small_jpeg_ls_lossless.dcm": "no positions of their own",
    "emri_small_RLE.dcm": "no positions of their own",
    "emri_small_big_endian.dcm": "no positions of their own",
    "emri_small.dcm": "no positions of their own",
}
ALWAYS_DECODED = ("RLE Lossless", "Explicit VR Little Endian", "Explicit VR Big Endian", "Implicit VR Little Endian")


@pytest.mark.real
def test_the_index_of_odd_files_is_complete(odd_files):
    assert len(odd_index()) == 58
    assert all((odd_files / row["file"]).is_file() for row in odd_index())


@pytest.mark.real
@pytest.mark.parametrize("row", odd_index(), ids=lambda row: row["file"])
def test_odd_file_is_read_rightly_or_refused_for_its_reason(odd_files, row):
    path = odd_files / row["file"]
    if path.name in REFUSED:
        with pytest.raises(DicomError, match=REFUSED[path.name]):
            read_headers(path)
        return
    headers = read_headers(path)
    if row["transfer_syntax"] not in ALWAYS_DECODED and not can_decode(path):
        with pytest.raises(DicomError, match=re.escape(row["transfer_syntax"])):
            read_frames(headers)
        return
    pixels = np.stack(read_frames(headers))
    shape, low, high = re.match(r"\(([\d, ]+)\) \S+ (-?\d+)\.\.(-?\d+)", row["pixels_pydicom"]).groups()
    assert pixels.shape[-2:] == tuple(int(size) for size in shape.split(", "))[-2:]
    assert len(headers) == int(float(row["frames"] or 1))
    expected = rescaled(path, np.array([float(low), float(high)]))
    assert [pixels.min(), pixels.max()] == pytest.approx(list(expected), rel=1e-5)


def can_decode(path: Path) -> bool:
    """Whether pydicom itself decodes the file with what is installed here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(path, force=True).pixel_array.size > 0
    except (RuntimeError, NotImplementedError, AttributeError, ValueError):
        return False


def rescaled(path: Path, stored: np.ndarray) -> np.ndarray:
    """Stored values after the rescale that the file's own top level gives."""
    dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    return stored * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
