import numpy as np
import pydicom
import pytest

from benchmarks.robustness.dicom_files import AXIAL, SAGITTAL, tilted_axial, write_enhanced, write_slice, write_stack


@pytest.mark.parametrize("rle", [False, True])
def test_a_slice_holds_its_pixels_and_tags(tmp_path, rle):
    pixels = np.arange(48, dtype=np.uint16).reshape(6, 8)
    dataset = pydicom.dcmread(write_slice(tmp_path / "deep" / "a.dcm", pixels, rle=rle, EchoTime=90.0))
    assert np.array_equal(dataset.pixel_array, pixels)
    assert dataset.EchoTime == 90.0
    assert dataset.file_meta.TransferSyntaxUID.is_compressed == rle


def test_a_tag_of_none_is_absent(tmp_path):
    dataset = pydicom.dcmread(write_slice(tmp_path / "a.dcm", position=None, PixelSpacing=None))
    assert "ImagePositionPatient" not in dataset
    assert "PixelSpacing" not in dataset
    assert list(dataset.ImageOrientationPatient) == list(AXIAL)


def test_a_stack_counts_from_one(tmp_path):
    paths = write_stack(tmp_path, [(x, 0.0, 0.0) for x in (1.0, 5.0, 9.0)])
    read = [pydicom.dcmread(path) for path in paths]
    assert [dataset.InstanceNumber for dataset in read] == [1, 2, 3]
    assert [dataset.ImagePositionPatient[0] for dataset in read] == [1, 5, 9]
    assert all(list(dataset.ImageOrientationPatient) == list(SAGITTAL) for dataset in read)


def test_an_enhanced_file_keeps_a_position_per_frame(tmp_path):
    frames = np.arange(96, dtype=np.uint16).reshape(2, 6, 8)
    dataset = pydicom.dcmread(write_enhanced(tmp_path / "e.dcm", frames, positions=[(0, 0, 0), (0, 0, 4)]))
    places = [
        group.PlanePositionSequence[0].ImagePositionPatient[2] for group in dataset.PerFrameFunctionalGroupsSequence
    ]
    assert places == [0, 4]
    assert np.array_equal(dataset.pixel_array, frames)


def test_a_tilted_axial_plane_has_unit_directions():
    directions = np.array(tilted_axial(20)).reshape(2, 3)
    assert np.linalg.norm(directions, axis=1) == pytest.approx([1, 1])
    assert np.degrees(np.arccos(directions[1] @ (0, 1, 0))) == pytest.approx(20)
