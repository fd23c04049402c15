from __future__ import annotations

import warnings

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from benchmarks.robustness.dicom_files import dataset_of, save, write_stack
from lumbar_kernel.archive.sources import open_source
from lumbar_kernel.containers import DICOMDIR, container_kind
from lumbar_kernel.dicom.dicomdir import indexed_files
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.errors import ConfigError, DicomError
from tests.dicom.conftest import LATERAL, inspected, shape


def write_index(path, *names, kind="IMAGE", undefined_length=False):
    """A DICOMDIR with a record for each of the names, parts separated by a slash."""
    records = []
    for name in names:
        record = Dataset()
        record.DirectoryRecordType = kind
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom knows that `..` is no name on a medium
            record.ReferencedFileID = name.split("/")
        records.append(record)
    dataset = dataset_of(np.zeros((2, 2), np.uint16), SOPClassUID="1.2.840.10008.1.3.10", Rows=None, Columns=None)
    del dataset.PixelData
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    dataset.DirectoryRecordSequence = Sequence(records)
    dataset["DirectoryRecordSequence"].is_undefined_length = undefined_length
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return save(dataset, path)


@pytest.fixture
def medium(tmp_path):
    """A study as media hold it, beside one that the index does not list."""
    uids = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3", "SeriesDescription": "T2"}
    for k, path in enumerate(write_stack(tmp_path / "written", LATERAL, **uids)):
        target = tmp_path / "PA0" / "ST0" / "SE0" / f"IM{k}"
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    write_stack(tmp_path / "OTHER" / "1", LATERAL, StudyInstanceUID="1.9", SeriesInstanceUID="1.9.1")
    return tmp_path


def test_the_listed_files_are_the_study(medium):
    index = write_index(medium / "DICOMDIR", *(f"PA0/ST0/SE0/IM{k}" for k in range(5)))
    assert container_kind(index) == DICOMDIR
    (files,) = find_studies(index)
    assert (files.folder, shape((files,))) == ("PA0/ST0", {"1.2": {"SE0": 5}})
    assert len(read_study(files).series[0].slices) == 5


@pytest.mark.parametrize("beside", ["test_images", "train_images"])
def test_folders_of_the_competition_beside_an_index_do_not_matter(medium, beside):
    index = write_index(medium / "DICOMDIR", *(f"PA0/ST0/SE0/IM{k}" for k in range(5)))
    (medium / beside / "7").mkdir(parents=True)
    assert shape(find_studies(index)) == {"1.2": {"SE0": 5}}
    assert [item.folder for item in open_source(str(index), split="test").listings()] == ["PA0/ST0/SE0"]


def test_names_in_another_case_are_found_and_absent_ones_named(medium, caplog):
    (medium / "PA0").rename(medium / "pa0")
    (medium / "pa0" / "ST0").rename(medium / "pa0" / "st0")
    (medium / "pa0" / "st0" / "SE0").rename(medium / "pa0" / "st0" / "se0")
    for path in (medium / "pa0" / "st0" / "se0").iterdir():
        path.rename(path.with_name(path.name.lower()))
    index = write_index(medium / "DICOMDIR", *(f"PA0/ST0/SE0/IM{k}" for k in range(7)), "../secret", "A/../B")
    files, missing = indexed_files(index)
    assert [len(names) for names in files.values()] == [5]
    assert missing == ["PA0/ST0/SE0/IM5", "PA0/ST0/SE0/IM6", "../secret", "A/../B"]
    find_studies(index)
    assert "DICOMDIR lists 4 files that are absent, such as PA0/ST0/SE0/IM5" in caplog.text


def test_files_in_a_folder_that_may_not_be_entered_count_as_absent(medium, close):
    index = write_index(medium / "DICOMDIR", *(f"PA0/ST0/SE0/IM{k}" for k in range(5)), "OTHER/1/1.dcm")
    close(medium / "OTHER" / "1")
    assert inspected(index) == ["1.2|[5]"]


def test_an_index_of_other_things_is_refused(medium):
    with pytest.raises(ConfigError, match="DICOMDIR: it lists no images"):
        find_studies(write_index(medium / "DICOMDIR", "PA0/ST0/SE0/IM0", kind="PRIVATE"))


@pytest.mark.parametrize("kept", [9, 60, 120])
@pytest.mark.parametrize("undefined_length", [False, True])
def test_an_index_that_breaks_off_is_refused(medium, kept, undefined_length):
    names = [f"PA0/ST0/SE0/IM{k}" for k in range(5)]
    index = write_index(medium / "DICOMDIR", *names, undefined_length=undefined_length)
    assert [len(item) for item in indexed_files(index)[0].values()] == [5]
    content = index.read_bytes()
    index.write_bytes(content[: content.index(b"PA0") + kept])
    with pytest.raises(DicomError, match=r"the DICOMDIR (breaks off|cannot be read)"):
        indexed_files(index)
