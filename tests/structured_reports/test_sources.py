import io
import shutil

import numpy as np
import pydicom
import pytest
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, SERIES_DESCRIPTIONS
from lumbar_kernel.structured_reports import sources
from lumbar_kernel.structured_reports.document import structured_report
from lumbar_kernel.structured_reports.sources import EMPTY_ALLOWED, nearest_image, read_sources


def test_every_slice_of_the_used_series_is_evidence(images, study):
    assert {image.role for image in images} == set(study.roles.values())
    assert all(keyword in image.dataset for image in images for keyword in EMPTY_ALLOWED)
    assert "PixelData" not in images[0].dataset


def test_the_nearest_slice_is_found_by_geometry(images):
    for image in images[::7]:
        assert nearest_image(images, image.plane.centre, (image.role,)) is image
    assert nearest_image(images, np.zeros(3), ("Coronal",)) is None
    t1 = nearest_image(images, np.zeros(3), ("Coronal", SAGITTAL_T1, SAGITTAL_T2))
    assert t1.role == SAGITTAL_T1


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID"])
def test_what_anonymisation_removes_is_completed_or_named(dataset, study, tmp_path, keyword):
    folder = shutil.copytree(dataset, tmp_path / "data")
    files = next(item for item in find_studies(folder) if item.study_id == study.study_id)
    series = next(item for item in files.series if study.roles[item.series_id] == AXIAL_T2)
    path = series.paths[0]
    broken = pydicom.dcmread(path)
    delattr(broken, keyword)
    broken.save_as(path, enforce_file_format=False)
    images, problems = read_sources(files, study.roles)
    if keyword == "SOPClassUID":
        assert not problems
        assert all(image.dataset.SOPClassUID.name == "MR Image Storage" for image in images)
    else:
        assert len(problems) == 1
        assert "SOPInstanceUID" in problems[0]


IMPOSSIBLE = {
    "PatientBirthDate": "19600000",
    "StudyDate": "UNKNOWN",
    "StudyTime": "25:00",
    "PatientSex": "W",
    "SpecificCharacterSet": "ISO 2022 IR 100",
}
"""Values that files in the wild have and highdicom refuses."""


@pytest.mark.parametrize("keyword", IMPOSSIBLE)
def test_a_value_that_cannot_be_costs_no_report(dataset, study, tmp_path, keyword):
    folder = shutil.copytree(dataset, tmp_path / "data")
    files = next(item for item in find_studies(folder) if item.study_id == study.study_id)
    for path in files.series[0].paths:
        header = pydicom.dcmread(path)
        with pydicom.config.disable_value_validation():
            setattr(header, keyword, IMPOSSIBLE[keyword])
            header.PatientName = "Müller^Jörg" if keyword == "SpecificCharacterSet" else "Doe^Jane"
            header.save_as(path)
    role = study.roles[files.series[0].series_id]
    images, problems = read_sources(files, {files.series[0].series_id: role})
    assert not problems
    file = io.BytesIO()
    structured_report(study, images).save_as(file, enforce_file_format=True)
    written = pydicom.dcmread(io.BytesIO(file.getvalue()))
    assert str(written.PatientName) == ("Müller^Jörg" if keyword == "SpecificCharacterSet" else "Doe^Jane")
    assert keyword == "SpecificCharacterSet" or not written[keyword].value


def test_series_that_the_reader_divided_are_found_again(undivided):
    (files,) = find_studies(undivided)
    series = read_study(files).series
    assert {item.role for item in series} == set(SERIES_DESCRIPTIONS)
    assert not {item.series_id for item in series} & {item.series_id for item in files.series}
    images, problems = read_sources(files, {item.series_id: item.role for item in series})
    assert not problems
    for item in series:
        found = [image.plane.origin.tolist() for image in images if image.role == item.role]
        assert found == [one.plane.origin.tolist() for one in item.slices]


def test_a_series_whose_role_was_given_is_evidence_as_a_whole(undivided):
    (files,) = find_studies(undivided)
    (whole,) = files.series
    images, _ = read_sources(files, {whole.series_id: AXIAL_T2})
    axial = [image for image in images if abs(image.plane.normal[2]) > 0.8]
    assert images == axial != []


@pytest.mark.parametrize("known", [EnhancedMRImageStorage, None])
def test_the_class_of_a_file_comes_from_its_meta_information_where_its_header_has_none(known):
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    if known:
        dataset.file_meta.MediaStorageSOPClassUID = known
    sources._complete(dataset)
    assert dataset.SOPClassUID == (known or MRImageStorage)
