from __future__ import annotations

import re
import zipfile
from dataclasses import fields

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_VR
from pydicom.multival import MultiValue
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from benchmarks.robustness.dicom_files import read_frames, read_headers, write_enhanced, write_slice
from benchmarks.robustness.mutations import KINDS
from lumbar_kernel.dicom import headers as headers_module
from lumbar_kernel.dicom import pixels as pixels_module
from lumbar_kernel.dicom.headers import HEADER_KEYWORDS
from lumbar_kernel.dicom.ordinary import ordinary_header, ordinary_pixels
from lumbar_kernel.errors import DicomError
from tests.dicom.conftest import RAMP

DETAILS = {
    "SeriesDescription": "T2 TSE sag",
    "ImageType": ["ORIGINAL", "PRIMARY", "M"],
    "EchoTime": "101.5",
    "RepetitionTime": 3000,
    "InstanceNumber": 7,
    "SeriesNumber": "4",
    "ScanOptions": "FS",
    "AcquisitionDate": "20240102",
    "AcquisitionTime": "101112.5",
    "AcquisitionDateTime": "20240102101112.5+0100",
    "RescaleSlope": "2.5",
    "RescaleIntercept": "-4",
    "BodyPartExamined": "LSPINE",
    "ProtocolName": "LWS Routine",
    "StudyDescription": "MRI LUMBAR SPINE",
}


CHANCE = re.compile(r" at 0x\w+|(?<=maximum recursion depth exceeded).*")
"""Parts of a message that depend on where an object lies in memory or how deep the caller was."""

TEN_BITS = {"BitsStored": 10, "HighBit": 9}


def write(folder, kind):
    """A file of some kind; all but the last few are ordinary."""
    signed = RAMP.astype(np.int16) - 20
    makers = {
        "plain": lambda path: write_slice(path, RAMP),
        "detailed": lambda path: write_slice(path, RAMP, **DETAILS),
        "rle": lambda path: write_slice(path, RAMP, rle=True, **DETAILS),
        "signed": lambda path: write_slice(path, signed, BitsStored=12, HighBit=11),
        "bytes": lambda path: write_slice(path, RAMP.astype(np.uint8)[:5, :5]),
        "bytes rle": lambda path: write_slice(path, RAMP.astype(np.uint8), rle=True),
        "inverted": lambda path: write_slice(path, RAMP, PhotometricInterpretation="MONOCHROME1", **TEN_BITS),
        "unused bits": lambda path: write_slice(path, RAMP | 0xF000, BitsStored=12, HighBit=11),
        "empty values": lambda path: write_slice(path, RAMP, EchoTime="", InstanceNumber="", SeriesDescription=""),
        "implicit": lambda path: implicit(path),
        "japanese": lambda path: write_slice(path, RAMP, SpecificCharacterSet="ISO_IR 13", SeriesDescription="a~b"),
        "umlaut": lambda path: write_slice(path, RAMP, SpecificCharacterSet="ISO_IR 100", SeriesDescription="S\xe4ule"),
        "utf-8": lambda path: write_slice(
            path, RAMP, SpecificCharacterSet="ISO_IR 192", StudyDescription="S\xe4ule 腰"
        ),
        "no utf-8": lambda path: mislabelled(path),
        "greek": lambda path: write_slice(path, RAMP, SpecificCharacterSet="ISO_IR 126", SeriesDescription="\u03b1"),
        "frames": lambda path: write_enhanced(path, np.stack([RAMP, RAMP]), positions=[(0, 0, 0), (0, 0, 1)]),
        "deflated": lambda path: deflated(path),
        "stripped": lambda path: write_slice(path, RAMP, SamplesPerPixel=None, BitsStored=None),
    }
    return makers[kind](folder / f"{kind}.dcm")


ORDINARY = (
    *("plain", "detailed", "rle", "signed", "bytes", "bytes rle", "inverted", "unused bits", "empty values"),
    *("implicit", "umlaut", "utf-8"),
)
OTHERS = ("japanese", "greek", "no utf-8", "frames", "deflated", "stripped")


def implicit(path):
    dataset = pydicom.dcmread(write_slice(path, RAMP, **DETAILS))
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.save_as(path, implicit_vr=True, little_endian=True)
    return path


def mislabelled(path):
    """A text in Latin-1 that is said to be UTF-8."""
    raw = write_slice(path, RAMP, SpecificCharacterSet="ISO_IR 100", SeriesDescription="S\xe4ule").read_bytes()
    path.write_bytes(raw.replace(b"ISO_IR 100", b"ISO_IR 192"))
    return path


def deflated(path):
    dataset = pydicom.dcmread(write_slice(path, RAMP, **DETAILS))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path)
    return path


def by_pydicom(path, monkeypatch):
    """Headers and pixels, or why they are refused, with pydicom alone."""
    with monkeypatch.context() as patch:
        patch.setattr(headers_module, "_ordinary", lambda _: None)
        patch.setattr(pixels_module, "_ordinary", lambda _: None)
        return outcome(path)


def outcome(path):
    try:
        headers = read_headers(path)
        return headers, read_frames(headers)
    except DicomError as error:
        return str(error)


def plain(value):
    """A value that can be compared: planes hold arrays."""
    arrays = (getattr(value, item.name) for item in fields(value)) if hasattr(value, "normal") else None
    return value if arrays is None else [np.asarray(item).tolist() for item in arrays]


def assert_same(found, expected):
    assert isinstance(found, str) == isinstance(expected, str), (found, expected)
    if isinstance(found, str):
        assert CHANCE.sub("", found) == CHANCE.sub("", expected)
        return
    for own, other in zip(found[0], expected[0], strict=True):
        for item in fields(own):
            one, two = getattr(own, item.name), getattr(other, item.name)
            assert plain(one) == plain(two), item.name
            assert type(one) is type(two), item.name
    for own, other in zip(found[1], expected[1], strict=True):
        assert own.dtype == other.dtype == np.float32
        assert np.array_equal(own, other)


@pytest.mark.parametrize("kind", [*ORDINARY, *OTHERS])
def test_ordinary_files_are_read_as_pydicom_reads_them_and_others_left_to_it(kind, tmp_path, monkeypatch):
    path = write(tmp_path, kind)
    quick = ordinary_header(path, HEADER_KEYWORDS) is not None, ordinary_pixels(path) is not None
    assert all(quick) == (kind in ORDINARY)
    assert_same(outcome(path), by_pydicom(path, monkeypatch))


def test_ordinary_files_need_no_pydicom(tmp_path, monkeypatch):
    paths = [write(tmp_path, kind) for kind in ORDINARY]
    monkeypatch.setattr(headers_module, "open_header", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(pixels_module, "open_whole", lambda *_: 1 / 0)
    for path in paths:
        assert not isinstance(outcome(path), str)


@pytest.mark.parametrize("keyword", sorted(HEADER_KEYWORDS))
def test_an_element_with_two_values_is_read_or_refused_as_pydicom_does(keyword, tmp_path, monkeypatch):
    path = write(tmp_path, "detailed")
    dataset = pydicom.dcmread(path)
    if (keyword not in dataset and keyword != "NumberOfFrames") or isinstance(dataset.get(keyword), MultiValue):
        pytest.skip("such a file has none, or several already")
    dataset.add_new(keyword, dictionary_VR(keyword), [dataset.get(keyword, 2)] * 2)
    dataset.save_as(path)
    assert_same(outcome(path), by_pydicom(path, monkeypatch))


@pytest.mark.parametrize("kind", [name for name in KINDS if name not in ("pipe", "socket", "endless device")])
def test_a_broken_file_is_read_or_refused_as_pydicom_does(kind, tmp_path, monkeypatch):
    for number, base in enumerate(("detailed", "rle")):
        raw = write(tmp_path, base).read_bytes()
        for seed in range(12):
            path = tmp_path / f"{base} {seed}.dcm"
            KINDS[kind](path, raw, np.random.default_rng([number, seed]))
            assert_same(outcome(path), by_pydicom(path, monkeypatch))


def test_a_file_in_an_archive_is_ordinary_too(tmp_path):
    path = write(tmp_path, "rle")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, "1/rle.dcm")
    inside = tmp_path / "a.zip" / "1" / "rle.dcm"
    assert ordinary_header(inside, HEADER_KEYWORDS) is not None
    assert np.array_equal(outcome(inside)[1][0], outcome(path)[1][0])


def test_elements_are_values_as_pydicom_has_them(tmp_path):
    header = ordinary_header(write(tmp_path, "detailed"), HEADER_KEYWORDS)
    assert (header.EchoTime, header.get("InstanceNumber"), header.Rows) == (101.5, 7, 6)
    assert header.ImageType == ["ORIGINAL", "PRIMARY", "M"]
    assert "EchoTime" in header
    assert "InversionTime" not in header
    assert header.get("InversionTime") is None
    with pytest.raises(AttributeError, match="InversionTime"):
        _ = header.InversionTime


def test_what_is_no_file_gives_nothing(tmp_path):
    assert ordinary_header(tmp_path, HEADER_KEYWORDS) is None
    assert ordinary_pixels(tmp_path / "absent.dcm") is None
