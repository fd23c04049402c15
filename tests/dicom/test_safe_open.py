from __future__ import annotations

import os
import shutil
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from benchmarks.robustness.dicom_files import AXIAL, dataset_of, read_frames, read_headers, save, write_slice
from lumbar_kernel.dicom.identity import identify
from lumbar_kernel.dicom.safe_open import HEADER_LIMIT, ITEM_LIMIT, SIZE_LIMIT, looks_like_dicom
from lumbar_kernel.errors import DicomError
from tests.dicom.conftest import RAMP, only, pixels_of


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty"), (b"no image\n" * 99, "not a DICOM file")])
def test_file_that_is_no_dicom_is_refused(tmp_path, content, reason):
    (tmp_path / "1.dcm").write_bytes(content)
    with pytest.raises(DicomError, match=reason):
        read_headers(tmp_path / "1.dcm")
    assert identify(str(tmp_path / "1.dcm"))[1] is None


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


def test_a_file_without_preamble_and_file_meta_information_is_read(tmp_path):
    path = write_slice(tmp_path / "1.dcm", RAMP)
    raw = path.read_bytes()
    path.write_bytes(raw[132 + 12 + int.from_bytes(raw[140:144], "little") :])
    assert looks_like_dicom(path)
    assert np.array_equal(pixels_of(only(path)), RAMP)


def test_a_deflated_bomb_is_refused_before_it_fills_the_memory(tmp_path):
    size = 4 * HEADER_LIMIT
    private = b"\x07\0\x10\0OB\0\0" + size.to_bytes(4, "little") + bytes(size)
    path = deflated(tmp_path / "1.dcm", private)
    tracemalloc.start()
    with pytest.raises(DicomError, match=rf"1\.dcm: the header is longer than {HEADER_LIMIT} bytes"):
        read_headers(path)
    assert identify(str(path))[1] is None
    assert tracemalloc.get_traced_memory()[1] < 3 * HEADER_LIMIT
    tracemalloc.stop()


def test_a_header_without_end_is_refused(tmp_path):
    dataset = dataset_of(RAMP, ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=list(AXIAL))
    dataset.add_new(0x00091001, "OB", bytes(HEADER_LIMIT))
    with pytest.raises(DicomError, match="header is longer"):
        read_headers(save(dataset, tmp_path / "1.dcm"))


@pytest.mark.parametrize("megabytes", [3, 12])
def test_a_long_header_of_a_valid_file_is_read(tmp_path, megabytes):
    dataset = dataset_of(RAMP, ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=list(AXIAL))
    dataset.add_new(0x00091001, "OB", bytes(megabytes << 20))
    path = save(dataset, tmp_path / "1.dcm")
    assert np.array_equal(pixels_of(only(path)), RAMP)
    assert identify(str(path))[1] is not None


def test_the_largest_file_that_is_promised_may_have_a_header(tmp_path):
    path = write_slice(tmp_path / "1.dcm")
    os.truncate(path, (512 * 512 * 512 * 2) + path.stat().st_size)
    assert only(path).plane.shape == RAMP.shape
    os.truncate(path, SIZE_LIMIT + 1)
    with pytest.raises(DicomError, match=f"over the limit of {SIZE_LIMIT}"):
        read_headers(path)


def test_a_header_of_too_many_items_is_refused_at_once(tmp_path):
    path = write_slice(tmp_path / "1.dcm")
    raw = path.read_bytes()
    place = raw.index(b"\x28\0\x02\0US")
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * (ITEM_LIMIT + 1)
    path.write_bytes(raw[:place] + b"\x20\0\x11\x92SQ\0\0" + len(items).to_bytes(4, "little") + items + raw[place:])
    with pytest.raises(DicomError, match="items, over the limit"):
        read_headers(path)


def test_what_follows_the_pixels_is_not_read(tmp_path):
    path = write_slice(tmp_path / "1.dcm")
    path.write_bytes(path.read_bytes() + b"\xfc\xff\xfc\xffSQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\0\0\0\0" * 9)
    assert np.array_equal(pixels_of(only(path)), RAMP)


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
    if kind == "hole":  # its header is whole, so that its series is known in which it is refused
        assert identify(str(path))[1].study_uid == "1.2.3"
    else:
        assert identify(str(path))[1] is None
        assert not looks_like_dicom(path)


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
