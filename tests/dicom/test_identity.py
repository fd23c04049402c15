"""The quick look at first bytes says what pydicom says, or nothing."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from benchmarks.robustness.dicom_files import AXIAL, CORONAL, SAGITTAL, dataset_of, save, write_slice
from lumbar_kernel.dicom.identity import FileIdentity, careful_identity, identify, quick_identity
from tests.real_data import unpack

TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x17F, exclude_characters="\x7f"), max_size=12)
UID = st.from_regex(r"[0-9.]{0,20}", fullmatch=True)
TAGS = st.fixed_dictionaries(
    {},
    optional={
        "StudyInstanceUID": UID,
        "SeriesInstanceUID": UID,
        "FrameOfReferenceUID": UID,
        "ImageOrientationPatient": st.sampled_from(
            [list(AXIAL), list(SAGITTAL), [1, 0, 0, 0, 0.7, -0.8], [0] * 6, [1]]
        ),
        "PatientID": TEXT,
        "PatientName": TEXT,
        "PatientBirthDate": st.sampled_from(["", "19600101", "1960"]),
        "PatientSex": st.sampled_from(["", "F", "M", "O "]),
        "NumberOfFrames": st.sampled_from([1, 2, 30]),
        "SeriesDescription": TEXT,
        "SpecificCharacterSet": st.sampled_from(["ISO_IR 100", "ISO_IR 192", "ISO_IR 13", "GB18030", "utf_16"]),
        "Rows": st.none(),
    },
)
IMPLICIT_TOO = st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian])


def stored(tags, syntax=ExplicitVRLittleEndian, *, nested=False):
    """The bytes of a small file with these tags, perhaps with sequences of undefined length before them."""
    dataset = dataset_of(np.zeros((2, 2), np.uint16), **({"StudyInstanceUID": None, "SeriesInstanceUID": None} | tags))
    if nested:
        inner, outer = Dataset(), Dataset()
        inner.CodeValue, inner.CodeMeaning = "1", "nested"
        outer.PurposeOfReferenceCodeSequence = Sequence([inner, inner])
        for item in (inner, outer):
            item.is_undefined_length_sequence_item = True
        outer["PurposeOfReferenceCodeSequence"].is_undefined_length = True
        dataset.ReferencedImageSequence = Sequence([outer, outer])
        dataset["ReferencedImageSequence"].is_undefined_length = True
    return written(dataset, syntax)


def written(dataset, syntax):
    """The bytes of a file in a transfer syntax, by either pydicom."""
    content = io.BytesIO()
    dataset.file_meta.TransferSyntaxUID = syntax
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom 3 deprecates what pydicom 2 needs
        dataset.is_implicit_VR, dataset.is_little_endian = syntax.is_implicit_VR, syntax.is_little_endian
        pydicom.dcmwrite(content, dataset, write_like_original=False)
    return content.getvalue()


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tags=TAGS, syntax=IMPLICIT_TOO, nested=st.booleans(), cut=st.one_of(st.just(0), st.integers(1, 400)))
def test_the_quick_look_says_what_pydicom_says_or_nothing(tmp_path, tags, syntax, nested, cut):
    path = tmp_path / "1.dcm"
    try:
        content = stored(tags, syntax, nested=nested)
    except (UnicodeError, LookupError, ValueError):  # text that its character set cannot hold
        return
    path.write_bytes(content[: len(content) - cut])
    quick, careful = quick_identity(path.read_bytes()), careful_identity(path)
    assert quick is None or quick == careful or (cut and careful is None)
    assert identify(str(path))[1] == (quick or careful)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_ordinary_files_need_no_pydicom(syntax, nested):
    tags = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3", "PatientID": "ann ", "PatientSex": "F"}
    quick = quick_identity(stored(tags, syntax, nested=nested))
    assert quick == FileIdentity("1.2", "1.2.3", ("ann", "", "F"))


@pytest.mark.parametrize(("orientation", "axis"), [(SAGITTAL, "x"), (CORONAL, "y"), (AXIAL, "z")])
def test_an_identity_holds_the_person_the_frame_and_the_direction(tmp_path, orientation, axis):
    person = {"PatientID": "ann", "PatientBirthDate": "19600101", "PatientSex": "F"}
    tags = {"FrameOfReferenceUID": "1.9", "NumberOfFrames": 3, **person}
    found = identify(str(write_slice(tmp_path / "1.dcm", orientation=orientation, **tags)))[1]
    assert found == FileIdentity("1.2.3", "1.2.3.4", tuple(person.values()), "1.9", multi_frame=True, axis=axis)


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_are_left_to_pydicom(tmp_path, syntax):
    path = tmp_path / "1.dcm"
    path.write_bytes(written(dataset_of(np.zeros((2, 2), np.uint16), PatientID="ann"), syntax))
    assert quick_identity(path.read_bytes()) is None
    assert identify(str(path))[1] == FileIdentity("1.2.3", "1.2.3.4", ("ann", "", ""))


def test_a_long_private_header_is_read_in_a_second_try(tmp_path):
    dataset = dataset_of(np.zeros((2, 2), np.uint16), PatientID="ann")
    dataset.private_block(0x0019, "VENDOR", create=True).add_new(1, "OB", b"\0" * 20_000)
    path = save(dataset, tmp_path / "1.dcm")
    head = path.read_bytes()
    assert quick_identity(head[: 1 << 13]) is None
    assert identify(str(path))[1] == quick_identity(head) == careful_identity(path)


def test_tags_out_of_order_are_left_to_pydicom():
    content = stored({"PatientID": "ann"})
    study = content.index(b"\x10\x00\x20\x00LO")
    swapped = content[:study] + b"\x07\x00" + content[study + 2 :]
    assert quick_identity(swapped) is None


def test_an_index_and_a_file_without_matrix_are_no_images(tmp_path):
    directory = dataset_of(np.zeros((2, 2), np.uint16))
    directory.DirectoryRecordSequence = Sequence([Dataset()])
    assert identify(str(save(directory, tmp_path / "index.dcm")))[1] is None
    report = save(dataset_of(np.zeros((2, 2), np.uint16), Rows=None), tmp_path / "report.dcm")
    assert identify(str(report))[1] is None


@pytest.mark.parametrize("content", [b"", b"no image", b"\0" * 500, b"DICX" * 100])
def test_what_is_no_dicom_is_told_from_a_broken_file(tmp_path, content):
    path = tmp_path / "1"
    path.write_bytes(content)
    assert identify(str(path)) == (False, None)
    path.write_bytes(b"\0" * 128 + b"DICM" + content)
    assert identify(str(path)) == (True, None)


@pytest.mark.real
def test_identities_of_odd_files_of_other_libraries_are_those_of_pydicom(tmp_path):
    folder = unpack("odd_mr_dicom", "files.zip", into=tmp_path)
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".csv"]
    for path in paths:
        quick = quick_identity(path.read_bytes()[: 1 << 18])
        assert quick is None or quick == careful_identity(path), path.name
    assert sum(quick_identity(path.read_bytes()) is not None for path in paths) > len(paths) / 2
