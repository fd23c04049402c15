"""The optional decoders: JPEG Lossless, JPEG Extended with 12 bits, JPEG-LS and JPEG 2000, encoded and read back."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import MPEG2MPML, UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from benchmarks.robustness.dicom_files import AXIAL, dataset_of, read_frames, read_headers, save, write_enhanced
from lumbar_kernel.dicom import pixels as module
from lumbar_kernel.dicom.pixels import try_frames
from lumbar_kernel.errors import DicomError

ROWS, COLUMNS = np.mgrid[:64, :48]
PICTURE = (2000 + 900 * np.sin(ROWS / 9) * np.cos(COLUMNS / 7)).astype(np.uint16)
"""Twelve bits, smooth, so that lossy codes stay near."""

UIDS = {
    "JPEG Lossless": "1.2.840.10008.1.2.4.70",
    "JPEG Extended": "1.2.840.10008.1.2.4.51",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000 Lossless": "1.2.840.10008.1.2.4.90",
    "JPEG 2000": "1.2.840.10008.1.2.4.91",
}


def encoded(name: str) -> bytes:
    codecs = pytest.importorskip("imagecodecs")
    return {
        "JPEG Lossless": lambda: codecs.ljpeg_encode(PICTURE, bitspersample=12),
        "JPEG Extended": lambda: codecs.jpeg8_encode(PICTURE, level=98, bitspersample=12),
        "JPEG-LS": lambda: codecs.jpegls_encode(PICTURE),
        "JPEG 2000 Lossless": lambda: codecs.jpeg2k_encode(PICTURE, codecformat="J2K", reversible=True),
        "JPEG 2000": lambda: codecs.jpeg2k_encode(PICTURE, codecformat="J2K", level=90, reversible=False),
    }[name]()


def write(path, name, stream):
    place = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": list(AXIAL)}
    data = dataset_of(PICTURE, **place, BitsStored=12, HighBit=11)
    data.file_meta.TransferSyntaxUID = UIDS[name]
    data.PixelData = encapsulate([stream])
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    return save(data, path)


@pytest.mark.parametrize("name", UIDS)
def test_compressed_pixels_are_read(tmp_path, name):
    pytest.importorskip("openjpeg" if "2000" in name else "libjpeg")
    (pixels,) = read_frames(read_headers(write(tmp_path / "1.dcm", name, encoded(name))))
    lossy = name in ("JPEG Extended", "JPEG 2000")
    assert np.abs(pixels - PICTURE).max() <= (40 if lossy else 0)


@pytest.mark.parametrize("has_offsets", [True, False])
@pytest.mark.parametrize("name", ["JPEG Lossless", "JPEG-LS", "JPEG 2000 Lossless"])
def test_frames_in_several_fragments_are_read_up_to_where_the_file_breaks_off(tmp_path, name, has_offsets):
    pytest.importorskip("openjpeg" if "2000" in name else "libjpeg")
    frames = np.stack([PICTURE] * 6)
    path = write_enhanced(tmp_path / "1.dcm", frames, positions=[(0, 0, float(z)) for z in range(6)])
    data, stream = pydicom.dcmread(path), encoded(name)
    data.file_meta.TransferSyntaxUID, data.BitsStored, data.HighBit = UIDS[name], 12, 11
    data.PixelData = encapsulate([stream] * 6, fragments_per_frame=2, has_bot=has_offsets)
    data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    save(data, path)
    content, end = path.read_bytes(), stream[-8:]
    places = [place for place in range(len(content)) if content.startswith(end, place)]
    # within the second fragment of frame 4, so that more whole fragments are left than there are frames
    path.write_bytes(content[: places[3] - 4])
    found = try_frames(read_headers(path))
    for number, item in enumerate(found):
        if number < 3:
            assert np.array_equal(item, PICTURE * (number + 1.0) + 10)
        else:
            assert str(item).endswith(f"1.dcm: the pixels break off before its end (frame {number + 1})")


@pytest.mark.parametrize("name", UIDS)
def test_a_stream_that_cannot_be_decoded_names_the_remedy(tmp_path, name):
    path = write(tmp_path / "1.dcm", name, b"no such stream")
    with pytest.raises(DicomError, match=r"pixels cannot be decoded here; pip install 'lumbar-kernel\[codecs\]'"):
        read_frames(read_headers(path))


@pytest.mark.parametrize("syntax", [RLELossless, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_damaged_pixels_that_need_no_decoder_are_called_damaged(syntax):
    assert "damaged" in module.remedy(syntax)


@pytest.mark.parametrize("syntax", [MPEG2MPML, UID("")])
def test_what_no_decoder_reads_is_to_be_converted(syntax):
    assert "convert" in module.remedy(syntax)
    assert "pip install" not in module.remedy(syntax)
