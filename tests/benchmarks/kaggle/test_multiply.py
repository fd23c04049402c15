import pytest

from benchmarks.kaggle.check import study_ids
from benchmarks.kaggle.multiply import multiply
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.tables import sample_studies


def test_the_new_folder_holds_the_studies_again_and_again(dataset, tmp_path):
    data = multiply(dataset, tmp_path / "many", studies=5)
    found = find_studies(data)
    assert [files.study_id for files in found] == study_ids(data) == sample_studies(data)
    assert len(found) == 5
    originals = find_studies(dataset)
    for files, original in zip(found, [*originals, *originals, originals[0]], strict=True):
        assert [(one.series_id, one.role) for one in files.series] == [(s.series_id, s.role) for s in original.series]
        assert [len(one.paths) for one in files.series] == [len(s.paths) for s in original.series]


def test_a_folder_without_studies_is_refused(tmp_path):
    (tmp_path / "test_series_descriptions.csv").write_text("study_id,series_id,series_description\n")
    with pytest.raises(ValueError, match="names no study"):
        multiply(tmp_path, tmp_path / "many", studies=5)
