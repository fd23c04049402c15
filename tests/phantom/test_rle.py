"""Quick RLE frames: pydicom reads them back."""

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from lumbar_kernel.phantom.rle import rle_frame


@pytest.mark.parametrize("shape", [(5, 7), (33, 128), (20, 129), (64, 300)])
def test_a_frame_decodes_to_its_pixels(shape):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 4096, shape).astype(np.uint16)
    pixels[:, : shape[1] // 2] = 7
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = RLELossless
    ds.Rows, ds.Columns = shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelData = encapsulate([rle_frame(pixels)])
    ds["PixelData"].is_undefined_length = True
    assert np.array_equal(ds.pixel_array, pixels)


def test_air_takes_little_room():
    assert len(rle_frame(np.zeros((256, 512), np.uint16))) < 10_000
