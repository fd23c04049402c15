import json

import pytest

from benchmarks.robustness.dicom_files import AXIAL, write_stack
from lumbar_kernel.dicom import inspection, pixels, reader
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.inspection import UNDECIDED, inspect_study
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1
from tests.dicom.conftest import LATERAL, UPWARD


def archive(folder):
    write_stack(folder / "1" / "a", LATERAL, SeriesDescription="T1 sag", SeriesInstanceUID="1.1")
    write_stack(
        folder / "1" / "b",
        LATERAL,
        SeriesDescription="T1 sag FS +C",
        SeriesInstanceUID="1.2",
        ImageType=["ORIGINAL", "PRIMARY", "M"],
    )
    write_stack(folder / "1" / "c", LATERAL, SeriesDescription="localizer", SeriesInstanceUID="1.3")
    write_stack(folder / "1" / "d", LATERAL, SeriesInstanceUID="1.4")
    return find_studies(folder)


def test_headers_alone_say_what_is_read_and_why(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "try_frames", lambda headers: 1 / 0)
    monkeypatch.setattr(pixels, "try_frames", lambda headers: 1 / 0)
    (files,) = archive(tmp_path)
    found = inspect_study(files, pixels=False)
    assert {item.series_id: item.role for item in found.series} == {"a": SAGITTAL_T1, "b": None, "c": None, "d": None}
    reasons = {item.series_id: item.reason for item in found.series}
    assert reasons["a"] == "T1 by SeriesDescription"
    assert "with contrast agent" in reasons["b"]
    assert "localiser" in reasons["c"]
    assert reasons["d"] == UNDECIDED
    assert found.missing == ()


def test_axial_slices_are_not_announced_from_a_volume_while_an_axial_series_is_undecided(tmp_path):
    thin = [(float(x), 0.0, 0.0) for x in range(-30, 31)]
    write_stack(tmp_path / "1" / "a", thin, SeriesDescription="T2 space", SeriesInstanceUID="1.1")
    (files,) = find_studies(tmp_path)
    assert "a reformatted" in [item.series_id for item in inspect_study(files, pixels=False).series]
    write_stack(tmp_path / "1" / "b", UPWARD, orientation=AXIAL, SeriesInstanceUID="1.2")
    (files,) = find_studies(tmp_path)
    for decoded in (False, True):
        assert [item.series_id for item in inspect_study(files, pixels=decoded).series] == ["a", "b"]


@pytest.mark.parametrize("decoded", [False, True])
def test_series_come_in_the_order_of_their_roles_before_those_that_are_not_used(tmp_path, decoded):
    for name, description in {"a": "localizer", "b": "T2 sag", "c": "T1 sag"}.items():
        uid = f"1.{ord(name)}"
        write_stack(tmp_path / "1" / name, LATERAL, SeriesDescription=description, SeriesInstanceUID=uid)
    (files,) = find_studies(tmp_path)
    assert [item.series_id for item in inspect_study(files, pixels=decoded).series] == ["c", "b", "a"]


def test_many_studies_are_inspected_by_several_processes_in_order(tmp_path, monkeypatch):
    for number in range(5):
        write_stack(tmp_path / f"s{number}" / "a", LATERAL, SeriesDescription="T1", StudyInstanceUID=f"1.2.{number}")
    studies = find_studies(tmp_path)
    alone = list(inspection.inspect_studies(studies, pixels=False))
    monkeypatch.setattr(inspection, "MANY_STUDIES", 2)
    assert list(inspection.inspect_studies(studies, pixels=False, workers=2)) == alone
    assert [found.study_id for found in alone] == [files.study_id for files in studies]


def test_pixels_decide_where_they_are_asked_for(tmp_path):
    (files,) = archive(tmp_path)
    found = inspect_study(files, pixels=True)
    assert {item.series_id: item.reason for item in found.series}["d"].startswith("its headers name no weighting; ")
    assert [item.series_id for item in found.series if item.role] == ["a"]
    assert AXIAL_T2 in found.missing


def test_text_says_of_each_series_what_becomes_of_it_and_what_is_missing_or_refused(tmp_path):
    write_stack(tmp_path / "1" / "a", LATERAL, SeriesDescription="T1 sag")
    (tmp_path / "1" / "a" / "6.dcm").write_bytes(b"")
    (files,) = find_studies(tmp_path)
    lines = inspect_study(files, pixels=False).as_text().splitlines()
    assert lines[1:] == [
        "  a  Sagittal T1: T1 by SeriesDescription",
        "      T1 sag, 5 slices, 6×8 at 1.000×1.000 mm",
        "  missing: Sagittal T2/STIR",
        "  missing: Axial T2",
        "  refused: a/6.dcm: the file is empty",
    ]


def test_text_and_json_show_description_and_image_type(tmp_path):
    (files,) = archive(tmp_path)
    found = inspect_study(files, pixels=False)
    assert f"  d  not decided: {UNDECIDED}\n" in found.as_text()
    assert "  c  not used: sagittal, a localiser by SeriesDescription" in found.as_text()
    assert "T1 sag FS +C, 5 slices, 6×8 at 1.000×1.000 mm, ORIGINAL/PRIMARY/M" in found.as_text()
    entry = json.loads(json.dumps(found.as_json()))
    assert entry["study_id"] == "1"
    assert {item["series_id"]: item["image_type"] for item in entry["series"]}["b"] == ["ORIGINAL", "PRIMARY", "M"]
