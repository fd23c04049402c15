from __future__ import annotations

import zipfile

import pytest

from lumbar_kernel.dicom.tables import read_roles, role_of, sample_studies
from lumbar_kernel.schema import ROWS, SAGITTAL_T1, SAGITTAL_T2
from tests.dicom.conftest import write_table


def test_the_sample_submission_orders_studies_in_any_encoding(tmp_path):
    rows = [f"{study}_{row}" for study in ("9", "a_b", "10") for row in ROWS] + ["nonsense"]
    (tmp_path / "sample_submission.csv").write_bytes(
        b"\xef\xbb\xbfrow_id,x\n" + "\n".join(rows).encode() + b"\n\xff\xe9,1"
    )
    assert sample_studies(tmp_path) == ["9", "a_b", "10"]


def test_roles_are_read_in_the_spellings_of_the_challenge(tmp_path, caplog):
    path = tmp_path / "test_series_descriptions.csv"
    write_table(path, "1,2,Sagittal T1", "1,3,sagittal stir ", "1,5,Sagittal T2", "2,4,Coronal", "2,,Axial T2", "3")
    assert read_roles(path) == {"1": {"2": SAGITTAL_T1, "3": SAGITTAL_T2, "5": SAGITTAL_T2}, "2": {"4": None}}
    assert "2 rows without study_id, series_id, series_description are left out" in caplog.text
    assert "'Coronal', its role is found from the headers" in caplog.text


@pytest.mark.parametrize("place", ["", "inner/"])
def test_tables_are_read_from_archives(tmp_path, place):
    path = tmp_path / "test_series_descriptions.csv"
    write_table(path, "1,2,Sagittal T1")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(path, f"{place}{path.name}")
    assert read_roles(tmp_path / "a.zip" / place / path.name) == read_roles(path) != {}
    assert sample_studies(tmp_path / "a.zip") == []


def test_the_role_of_a_series_is_found_by_its_number_and_by_a_uid_that_ends_in_it():
    roles = {"1": {"2": SAGITTAL_T1, "1.3": SAGITTAL_T2, "3": SAGITTAL_T1, "4": None}}
    found = [role_of(roles, "1", series_id) for series_id in ("2", "1.2", "1.3", "3", "4", "5.2", "6")]
    assert found == [SAGITTAL_T1, SAGITTAL_T1, SAGITTAL_T2, SAGITTAL_T1, None, None, None]
    assert role_of(roles, "7", "2") is None
