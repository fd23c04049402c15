import shutil

import numpy as np
import pydicom
import pytest

from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
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
