import importlib.util
import struct

import cv2
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.pixels.decoders.rle import _rle_decode_frame

from benchmarks.robustness.dicom_files import write_slice
from lumbar_kernel.dicom.rle import decode_frame
from lumbar_kernel.phantom.rle import rle_frame

RNG = np.random.default_rng(5)
FRAMES = {
    "noise": RNG.integers(0, 1 << 16, (37, 53), dtype=np.uint16),
    "air": np.zeros((64, 200), dtype=np.uint16),
    "12 bits": RNG.integers(0, 1 << 12, (40, 41), dtype=np.uint16),
    "one pixel": np.array([[513]], dtype=np.uint16),
    "long rows": np.repeat(RNG.integers(0, 1 << 16, (3, 9), dtype=np.uint16), 71, axis=1),
}


@pytest.mark.parametrize("pixels", FRAMES.values(), ids=FRAMES)
def test_frames_of_both_encoders_are_unpacked_to_what_was_stored(pixels, tmp_path):
    rows, columns = pixels.shape
    assert np.array_equal(decode_frame(rle_frame(pixels), rows=rows, columns=columns, bytes_each=2), pixels)
    dataset: Dataset = dcmread(write_slice(tmp_path / "1.dcm", pixels, rle=True))
    encoded = dataset.PixelData[20:]  # without the table of offsets
    assert np.array_equal(decode_frame(encoded, rows=rows, columns=columns, bytes_each=2), pixels)


def test_bytes_are_unpacked_too():
    pixels = FRAMES["noise"].astype(np.uint8)
    literal = b"".join(bytes((len(row) - 1,)) + row.tobytes() for row in pixels)
    encoded = struct.pack("<16L", 1, 64, *[0] * 14) + literal
    assert np.array_equal(decode_frame(encoded, rows=37, columns=53, bytes_each=1), pixels)


def packets(rng, size):
    """Runs, literals and empty packets at random that stand for `size` bytes, padded to an even length."""
    parts, left = [], size
    while left:
        kind, count = int(rng.integers(3)), min(left, int(rng.integers(1, 129)))
        if kind == 0:
            parts.append(bytes((128,)))
        elif kind == 1 or count == 1:
            parts.append(bytes((count - 1,)) + rng.bytes(count))
            left -= count
        else:
            parts.append(bytes((257 - count,)) + rng.bytes(1))
            left -= count
    packed = b"".join(parts)
    return packed + b"\0" * (len(packed) % 2)


@pytest.mark.filterwarnings("ignore:The decoded RLE segment contains")
@pytest.mark.parametrize("seed", range(300))
def test_whatever_is_unpacked_is_what_pydicom_unpacks(seed):
    """Random packets, some cut short or damaged: the same values, or none where pydicom complains."""
    rng = np.random.default_rng(seed)
    rows, columns = (int(value) for value in rng.integers(1, 60, 2))
    high, low = packets(rng, rows * columns), packets(rng, rows * columns)
    encoded = bytearray(struct.pack("<16L", 2, 64, 64 + len(high), *[0] * 13) + high + low)
    if seed % 3 == 1:
        del encoded[int(rng.integers(60, len(encoded))) :]
    elif seed % 3 == 2:
        encoded[int(rng.integers(len(encoded)))] ^= 1 << int(rng.integers(8))
    found = decode_frame(bytes(encoded), rows=rows, columns=columns, bytes_each=2)
    try:
        expected = np.frombuffer(_rle_decode_frame(bytes(encoded), rows, columns, 1, 16), "<u2").reshape(rows, columns)
    except (ValueError, struct.error):
        assert found is None
    else:
        assert found is None or np.array_equal(found, expected)
        assert found is not None or seed % 3


@pytest.mark.parametrize(
    "header", [(0, 64), (3, 64, 70, 80), (2, 64, 64), (2, 60, 70), (2, 70, 64), (2, 64, 999), (16, 64)], ids=str
)
def test_a_wrong_header_is_left_to_pydicom(header):
    encoded = struct.pack("<16L", *header, *[0] * (16 - len(header))) + b"\xff\0" * 40
    assert decode_frame(encoded, rows=4, columns=4, bytes_each=2) is None


def test_too_few_bytes_are_left_to_pydicom_without_a_word(capfd):
    assert decode_frame(b"", rows=4, columns=4, bytes_each=2) is None
    assert decode_frame(rle_frame(FRAMES["noise"])[:-9], rows=37, columns=53, bytes_each=2) is None
    assert capfd.readouterr() == ("", "")


def test_damage_is_met_without_a_word_before_version_4_13_of_opencv_too(monkeypatch):
    levels = [3]
    monkeypatch.delattr(cv2.utils, "logging", raising=False)
    monkeypatch.setattr(cv2, "getLogLevel", lambda: levels[-1], raising=False)
    monkeypatch.setattr(cv2, "setLogLevel", levels.append, raising=False)
    spec = importlib.util.find_spec("lumbar_kernel.dicom.rle")
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    assert np.array_equal(fresh.decode_frame(rle_frame(pixels), rows=8, columns=8, bytes_each=2), pixels)
    assert levels == [3, fresh.SILENT, 3]
