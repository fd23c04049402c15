from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from benchmarks.robustness.dicom_files import (
    AXIAL,
    SAGITTAL,
    dataset_of,
    read_frames,
    read_headers,
    save,
    write_enhanced,
    write_slice,
)
from lumbar_kernel.dicom.headers import FRAME_LIMIT
from lumbar_kernel.errors import DicomError
from tests.dicom.conftest import RAMP, only, only_study, pixels_of
from tests.real_data import SHARED, unpack


def test_rows_and_columns_keep_their_own_spacing(tmp_path):
    plane = only(write_slice(tmp_path / "1.dcm", position=(1, 2, 3), orientation=SAGITTAL, PixelSpacing=[2, 3])).plane
    assert (plane.row_spacing, plane.column_spacing, plane.shape) == (2, 3, (6, 8))
    assert plane.to_mm(np.array([1.0, 0.0])) == pytest.approx([1, 2, 1])
    assert plane.to_mm(np.array([0.0, 1.0])) == pytest.approx([1, 5, 3])


def test_a_header_holds_the_values_of_the_tags(tmp_path):
    tags = {"EchoTime": 90, "RepetitionTime": 3000, "InversionTime": 160, "ScanningSequence": ["SE", "IR"]}
    header = only(write_slice(tmp_path / "7.dcm", SeriesDescription=" T2 sag ", InstanceNumber=4, **tags))
    assert (header.echo_time, header.repetition_time, header.inversion_time) == (90, 3000, 160)
    assert (header.scanning_sequence, header.series_description) == ("SE\\IR", "T2 sag")
    assert (header.instance_number, header.frame, header.series_uid) == (4, None, "1.2.3.4")


def test_number_in_the_file_name_stands_in_for_a_missing_instance_number(tmp_path):
    assert only(write_slice(tmp_path / "2024-IM-12.dcm")).instance_number == 12
    assert only(write_slice(tmp_path / "slice.dcm")).instance_number is None


def test_directions_that_were_rounded_are_made_a_right_angle_again(tmp_path):
    rounded = (0.998, 0.065, 0.004, -0.064, 0.996, 0.065)
    plane = only(write_slice(tmp_path / "1.dcm", orientation=rounded)).plane
    directions = np.stack([plane.row_direction, plane.column_direction])
    assert np.allclose(directions @ directions.T, np.eye(2), rtol=0, atol=1e-12)
    assert np.allclose(directions.ravel(), rounded, atol=0.005)


@pytest.mark.parametrize(
    ("times", "acquired"),
    [
        ({"AcquisitionTime": "11", "SeriesDate": "20240103", "SeriesTime": "12"}, "20240102 11"),
        ({"SeriesDate": "20240103", "SeriesTime": "12", "ContentTime": "13"}, "20240103 12"),
        ({"ContentDate": "20240104", "ContentTime": "13"}, "20240104 13"),
        ({"AcquisitionDateTime": "20240105111213.5+0100", "SeriesTime": "12"}, "20240105 111213.5"),
        ({"AcquisitionDateTime": "20240105111213", "AcquisitionTime": "10"}, "20240102 10"),
        ({"AcquisitionDateTime": "20240105", "SeriesDate": "20240103", "SeriesTime": "12"}, "20240103 12"),
        ({}, ""),
    ],
)
def test_a_slice_was_acquired_at_the_most_exact_time_with_its_own_date(tmp_path, times, acquired):
    assert only(write_slice(tmp_path / "1.dcm", AcquisitionDate="20240102", **times)).acquired == acquired


@pytest.mark.parametrize("missing", ["Modality", "SOPClassUID", "StudyInstanceUID", "SliceThickness", "InstanceNumber"])
def test_a_file_without_a_tag_that_nothing_needs_is_read(tmp_path, missing):
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


def test_the_class_in_the_file_meta_information_counts_where_the_other_was_stripped(tmp_path):
    dataset = dataset_of(RAMP, SOPClassUID="", ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=list(AXIAL))
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.2"
    with pytest.raises(DicomError, match="spectroscopy"):
        read_headers(save(dataset, tmp_path / "1.dcm"))


def test_a_fine_slice_a_whole_body_and_a_place_far_down_the_table_are_read(tmp_path):
    assert only(write_slice(tmp_path / "1.dcm", PixelSpacing=[0.1, 350], position=(0, 0, -2500))).plane.shape == (6, 8)


def test_file_without_pixels_is_refused(tmp_path):
    dataset = dataset_of(RAMP, ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=list(AXIAL))
    del dataset.PixelData
    with pytest.raises(DicomError, match="no pixel data"):
        read_headers(save(dataset, tmp_path / "1.dcm"))


def test_enhanced_file_gives_every_frame_its_place_and_rescale(tmp_path):
    frames = np.stack([RAMP, RAMP + 1, RAMP + 2])
    headers = read_headers(write_enhanced(tmp_path / "1.dcm", frames, positions=[(0, 0, 5), (0, 0, 1), (0, 0, 9)]))
    assert [header.plane.origin[2] for header in headers] == [5, 1, 9]
    assert {(header.plane.row_spacing, header.plane.column_spacing) for header in headers} == {(2, 3)}
    for frame, pixels in zip([2, 0], read_frames([headers[2], headers[0]]), strict=True):
        assert np.array_equal(pixels, frames[frame] * (frame + 1.0) + 10)


def item(**values):
    """A dataset, or a functional group of those that are given."""
    found = Dataset()
    for name, value in values.items():
        setattr(found, name, [value] if isinstance(value, Dataset) else value)
    return found


def with_groups(path, *own, shared, **tags):
    """An enhanced file with these functional groups."""
    write_enhanced(path, np.stack([RAMP] * max(1, len(own))), positions=[(0, 0, 5)])
    dataset = pydicom.dcmread(path)
    place = {"PlaneOrientationSequence": item(ImageOrientationPatient=list(AXIAL))}
    dataset.SharedFunctionalGroupsSequence = [item(**place, **shared)]
    dataset.PerFrameFunctionalGroupsSequence = [item(**groups) for groups in own]
    dataset.update(item(**tags))
    dataset.save_as(path)
    return path


def test_functional_groups_say_what_elements_say_in_a_classic_file(tmp_path):
    own = {
        "MREchoSequence": item(EffectiveEchoTime=101.0),
        "MRImageFrameTypeSequence": item(FrameType=["ORIGINAL", "PRIMARY", "T2", "NONE"]),
        "MRDiffusionSequence": item(DiffusionBValue=50.0),
        "PlanePositionSequence": item(ImagePositionPatient=[0, 0, 5]),
        "PixelMeasuresSequence": item(PixelSpacing=[3, 4]),
    }
    shared = {
        "MRTimingAndRelatedParametersSequence": item(RepetitionTime=3100.0),
        "MRModifierSequence": item(InversionTimes=[150.0]),
        "PixelMeasuresSequence": item(PixelSpacing=[1, 2]),
    }
    tags = {"PulseSequenceName": "tse2d", "EchoPulseSequence": "SPIN", "ImageType": ["DERIVED"], "PixelSpacing": [9, 9]}
    first, second = read_headers(with_groups(tmp_path / "1.dcm", own, own, shared=shared, **tags))
    assert (first.echo_time, first.repetition_time, first.inversion_time) == (101, 3100, 150)
    assert (first.image_type, first.diffusion_b_value) == (("ORIGINAL", "PRIMARY", "T2", "NONE"), 50)
    assert (first.sequence_name, first.scanning_sequence, first.scan_options) == ("TSE2D", "SPIN", ())
    assert (first.plane.row_spacing, first.plane.column_spacing) == (3, 4)
    assert [first.instance_number, second.instance_number] == [1, 2]


ENHANCED = {
    "PlanePositionSequence": item(ImagePositionPatient=[0, 0, 5]),
    "PixelMeasuresSequence": item(PixelSpacing=[1, 2]),
}


@pytest.mark.parametrize(
    ("suppressed", "options"), [("FAT", ("FS",)), ("FAT_AND_WATER", ("FS",)), ("WATER", ()), ("NONE", ())]
)
def test_an_enhanced_file_says_by_its_pulse_sequence_whether_fat_is_suppressed(tmp_path, suppressed, options):
    tags = {"SpectrallySelectedSuppression": suppressed}
    assert only(with_groups(tmp_path / "1.dcm", shared=ENHANCED, **tags)).scan_options == options
    misplaced = {"MRModifierSequence": item(**tags)}
    assert only(with_groups(tmp_path / "2.dcm", shared=ENHANCED | misplaced)).scan_options == options


def test_an_enhanced_file_names_its_contrast_agent_by_a_code(tmp_path):
    code = item(CodeValue="C-17800", CodingSchemeDesignator="SRT", CodeMeaning="Gadolinium")
    path = with_groups(tmp_path / "1.dcm", shared=ENHANCED, ContrastBolusAgentSequence=code)
    assert only(path).contrast_agent == "Gadolinium"
    path = with_groups(tmp_path / "2.dcm", shared=ENHANCED, ContrastBolusAgentSequence=[])
    assert only(path).contrast_agent == ""


def test_a_lone_frame_needs_no_group_of_its_own_and_several_do(tmp_path):
    measures = {"PixelMeasuresSequence": item(PixelSpacing=[1, 2])}
    place = {"PlanePositionSequence": item(ImagePositionPatient=[0, 0, 5])}
    assert only(with_groups(tmp_path / "1.dcm", shared=measures | place)).plane.origin[2] == 5
    path = with_groups(tmp_path / "2.dcm", place, place, shared=measures)
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence[1]
    dataset.save_as(path)
    with pytest.raises(DicomError, match="it has 2 frames but functional groups for 1"):
        read_headers(path)


def without_position(path, *places):
    """An enhanced file of three frames, some of which have no position."""
    write_enhanced(path, np.stack([RAMP] * 3), positions=[(0, 0, 5), (0, 0, 1), (0, 0, 9)])
    dataset = pydicom.dcmread(path)
    for place in places:
        del dataset.PerFrameFunctionalGroupsSequence[place].PlanePositionSequence
    dataset.save_as(path)
    return path


def test_a_frame_without_position_costs_that_frame(tmp_path):
    path = without_position(tmp_path / "1" / "2" / "1.dcm", 1)
    assert [(header.frame, header.plane.origin[2]) for header in read_headers(path)] == [(0, 5), (2, 9)]
    study = only_study(tmp_path)
    assert study.problems[0] == "2/1.dcm: no ImagePositionPatient, the slice has no position in the patient (frame 2)"
    assert [item.plane.origin[2] for item in study.series[0].slices] == [5, 9]


def test_an_enhanced_file_of_which_no_frame_has_a_position_is_refused(tmp_path):
    with pytest.raises(DicomError, match=r"no ImagePositionPatient.*\(frame 1\)"):
        read_headers(without_position(tmp_path / "1.dcm", 0, 1, 2))


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
