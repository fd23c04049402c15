from __future__ import annotations

import shutil

import numpy as np
import pydicom
import pytest

from benchmarks.robustness.dicom_files import AXIAL, CORONAL, SAGITTAL, write_enhanced, write_slice, write_stack
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import StudyFiles
from tests.dicom.conftest import COUNTS, LATERAL, UPWARD, only_study, real_roles, write_table, xs
from tests.real_data import SHARED


def test_slices_of_other_matrix_and_spacing_keep_their_own_plane(tmp_path):
    folder = tmp_path / "1" / "2"
    write_stack(folder, LATERAL[:3], SeriesDescription="T1")
    large = np.ones((10, 4), np.uint16)
    write_slice(folder / "9.dcm", large, position=LATERAL[4], orientation=SAGITTAL, PixelSpacing=[0.5, 2])
    slices = only_study(tmp_path).series[0].slices
    assert [item.pixels.shape for item in slices] == [(6, 8)] * 3 + [(10, 4)]
    assert all(item.plane.shape == item.pixels.shape for item in slices)
    assert slices[-1].plane.column_spacing == 2


def test_frames_of_an_enhanced_file_are_slices(tmp_path):
    frames = np.arange(3 * 48, dtype=np.uint16).reshape(3, 6, 8)
    write_enhanced(tmp_path / "1" / "2" / "a.dcm", frames, positions=[UPWARD[i] for i in (2, 0, 1)])
    slices = only_study(tmp_path).series[0].slices
    assert [item.plane.origin[2] for item in slices] == [0, 4, 8]
    assert np.array_equal(slices[0].pixels, frames[1] * 2.0 - frames[1].min() * 2.0)


@pytest.mark.parametrize("broken", ["whole", "copy"])
def test_an_interrupted_copy_beside_its_series_costs_nothing(tmp_path, broken):
    folder = tmp_path / "1" / "2"
    for prefix in ("a_copy", "b_whole"):
        for path in write_stack(folder / prefix, LATERAL, SeriesDescription="T1"):
            if broken in prefix:
                path.write_bytes(path.read_bytes()[:-20])
            path.rename(folder / f"{prefix}{path.name}")
        (folder / prefix).rmdir()
    study = only_study(tmp_path)
    assert xs(study) == [-8, -4, 0, 4, 8]
    assert all(item.pixels.max() > 0 for item in study.series[0].slices)


def test_the_order_of_files_changes_nothing(competition):
    study = find_studies(competition)[0]
    turned = StudyFiles("9", tuple(type(s)(s.series_id, s.role, s.paths[::-1]) for s in study.series))
    for one, other in zip(read_study(study).series, read_study(turned).series, strict=True):
        assert [s.instance_number for s in one.slices] == [s.instance_number for s in other.slices]


def test_table_role_wins_over_the_description(competition):
    for path in (competition / "test_images" / "10" / "2").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SeriesDescription = "T1"
        dataset.save_as(path)
    assert read_study(find_studies(competition)[1]).series[0].role == SAGITTAL_T2


def test_geometry_wins_over_a_table_that_contradicts_it(competition):
    write_table(competition / "test_series_descriptions.csv", "9,2,Axial T2", "9,3,Sagittal T1")
    study = read_study(find_studies(competition)[0])
    assert "its given role is Axial T2 but its slices are sagittal" in study.problems[0]
    assert {series.series_id: series.role for series in study.series}["3"] == AXIAL_T2


def test_slices_of_another_plane_are_left_out(tmp_path):
    write_stack(tmp_path / "test_images" / "1" / "2", LATERAL)
    write_slice(tmp_path / "test_images" / "1" / "2" / "9.dcm", orientation=CORONAL)
    write_table(tmp_path / "test_series_descriptions.csv", "1,2,Sagittal T1")
    study = only_study(tmp_path)
    assert xs(study) == [-8, -4, 0, 4, 8]
    assert "1 slices are not sagittal" in study.problems[0]


@pytest.mark.parametrize("damage", ["header", "pixels"])
def test_a_broken_file_costs_that_file(competition, damage):
    path = competition / "test_images" / "10" / "2" / "3.dcm"
    path.write_bytes(b"junk" if damage == "header" else path.read_bytes()[:-9])
    study = read_study(find_studies(competition)[1])
    assert xs(study) == [-8, -4, 4, 8]
    assert [problem.startswith("2/3.dcm: ") for problem in study.problems] == [True]


def test_study_without_files_reads_as_empty():
    study = read_study(StudyFiles("5", ()))
    assert (study.study_id, study.series, study.problems) == ("5", (), ())


@pytest.mark.real
@pytest.mark.parametrize("split", ["test", "train"])
def test_real_studies_have_the_roles_and_counts_of_the_tables(real, split):
    shutil.copy(SHARED / "rsna_tables" / f"{split}_series_descriptions.csv", real)
    studies = [study for study in find_studies(real, split=split) if study.series]
    assert {study.study_id for study in studies} == {folder.name for folder in (real / f"{split}_images").iterdir()}
    for study in map(read_study, studies):
        assert study.problems == ()
        assert {series.series_id: len(series.slices) for series in study.series} == COUNTS[study.study_id]
        assert all(series.role == real_roles()[series.series_id] for series in study.series)


@pytest.mark.real
@pytest.mark.parametrize("study_id", COUNTS)
def test_real_studies_are_sorted_monotonically(real, study_id):
    (folder,) = real.glob(f"*_images/{study_id}")
    study = only_study(folder)
    for series in study.series:
        sagittal = series.role != AXIAL_T2
        along = np.array([item.plane.centre[0 if sagittal else 2] for item in series.slices])
        normals = np.array([item.plane.normal for item in series.slices])
        same_block = np.einsum("ij,ij->i", normals[1:], normals[:-1]) > np.cos(np.radians(3))
        assert np.all(np.diff(along)[same_block] > 0)
        assert same_block.mean() > 0.85


def test_slices_beyond_the_memory_of_a_study_are_left_out_largest_first(tmp_path, monkeypatch):
    write_stack(tmp_path / "1" / "2", LATERAL, SeriesDescription="T2 sag")
    for number, x in ((7, 12.0), (8, 16.0)):
        path = tmp_path / "1" / "2" / f"{number}.dcm"
        large = np.ones((20, 20), np.uint16)
        write_slice(path, large, position=(x, 0, 0), orientation=SAGITTAL, SeriesDescription="T2 sag")
    monkeypatch.setattr("lumbar_kernel.dicom.reader.STUDY_LIMIT", 5 * 48 + 400)
    study = only_study(tmp_path)
    assert xs(study) == [-8, -4, 0, 4, 8, 12]
    assert study.problems == ("2/8.dcm: left out, the study has more than 640 pixels",)


def undecided(folder, name, count, *, orientation=SAGITTAL, **tags):
    """A series of which neither headers nor pixels tell the weighting; a sagittal one is then T1, an axial one T2."""
    places = [(2.0 * k, 0.0, 0.0) if orientation is SAGITTAL else (0.0, 0.0, 2.0 * k) for k in range(count)]
    write_stack(folder / "1" / name, places, orientation=orientation, SeriesInstanceUID=f"1.{name}", **tags)


def test_series_that_are_only_compared_cost_the_chosen_one_no_slices(tmp_path, monkeypatch):
    for name in ("2", "3", "4"):
        undecided(tmp_path, name, 35)
    # one series has 35 × 48 pixels, of which 8 × 48 are compared; the others' do not count any more afterwards
    monkeypatch.setattr("lumbar_kernel.dicom.reader.STUDY_LIMIT", 2400)
    study = only_study(tmp_path)
    assert [(series.series_id, len(series.slices)) for series in study.series] == [("4", 35)]
    assert study.problems == ()
    assert {item.series_id: item.reason for item in study.decisions if not item.role} == dict.fromkeys(
        ("2", "3"), "equal in all that is compared; series 4 is read as Sagittal T1 instead"
    )


def test_series_too_many_to_be_compared_are_named(tmp_path, monkeypatch):
    for name, count in (("2", 9), ("3", 10), ("4", 9)):
        undecided(tmp_path, name, count)
    monkeypatch.setattr("lumbar_kernel.dicom.reader.STUDY_LIMIT", 2 * 8 * 48)
    study = only_study(tmp_path)
    assert [(series.series_id, len(series.slices)) for series in study.series] == [("3", 10)]
    assert {item.series_id: item.reason for item in study.decisions if not item.role} == dict.fromkeys(
        ("2", "4"), "its headers name no weighting, and its pixels could not be compared"
    )


def test_a_slice_that_fails_in_the_comparison_is_named_once(tmp_path):
    for name in ("2", "3"):
        undecided(tmp_path, name, 5)
    path = tmp_path / "1" / "3" / "4.dcm"
    path.write_bytes(path.read_bytes()[:-20])
    study = only_study(tmp_path)
    assert [(series.series_id, len(series.slices)) for series in study.series] == [("2", 5)]
    assert [problem.split(":")[0] for problem in study.problems] == ["3/4.dcm"]


def test_the_fullest_named_series_alone_is_compared(tmp_path, monkeypatch):
    undecided(tmp_path, "2", 5)
    for name, count in (("3", 6), ("4", 9), ("5", 7)):
        undecided(tmp_path, name, count, SeriesDescription="T2 sag")
    seen = []

    def weightings(series, *, known, axial):
        seen.append([(len(slices), name) for slices, name in zip(series, known, strict=True)])
        return [name or "T1" for name in known]

    monkeypatch.setattr("lumbar_kernel.dicom.reader.sagittal_weightings", weightings)
    assert {series.series_id: series.role for series in only_study(tmp_path).series}["2"] == SAGITTAL_T1
    assert seen == [[(5, None), (9, "T2")]]


def test_of_series_too_many_to_be_compared_each_plane_keeps_its_fullest(tmp_path, monkeypatch):
    for name, count, orientation in (("2", 10, SAGITTAL), ("3", 9, SAGITTAL), ("4", 9, AXIAL)):
        undecided(tmp_path, name, count, orientation=orientation)
    monkeypatch.setattr("lumbar_kernel.dicom.reader.STUDY_LIMIT", 2 * 2 * 8 * 48)
    series = only_study(tmp_path).series
    assert {item.series_id: item.role for item in series} == {"2": SAGITTAL_T1, "4": AXIAL_T2}


def test_axial_series_are_compared_where_the_fullest_sagittal_ones_cross_them(tmp_path, monkeypatch):
    for name, count, description in (("2", 6, "T1"), ("3", 9, "T2"), ("4", 5, None)):
        undecided(tmp_path, name, count, SeriesDescription=description)
    for name, count, description in (("5", 4, None), ("6", 3, "T2"), ("7", 6, "T2"), ("8", 5, "T2")):
        undecided(tmp_path, name, count, orientation=AXIAL, SeriesDescription=description)
    seen = []

    def weightings(series, references, *, known):
        seen.append([(len(slices), name) for slices, name in zip(series, known, strict=True)])
        seen.append({name: len(slices) for name, slices in references.items()})
        return [name or "T1" for name in known]

    monkeypatch.setattr("lumbar_kernel.dicom.reader.axial_weightings", weightings)
    monkeypatch.setattr(
        "lumbar_kernel.dicom.reader.sagittal_weightings", lambda series, known, axial: [name or "T2" for name in known]
    )
    study = only_study(tmp_path)
    assert seen == [[(4, None), (6, "T2"), (5, "T2")], {"T1": 6, "T2": 9}]
    assert {item.series_id: item.reason for item in study.decisions}["5"] == "T1 by its pixels, no role wants it"


def test_slices_that_are_compared_are_spread_over_their_series(tmp_path, monkeypatch):
    undecided(tmp_path, "2", 10)
    seen = []

    def weightings(series, *, known, axial):
        seen.extend(item.plane.origin[0] for item in series[0])
        return ["T2"]

    monkeypatch.setattr("lumbar_kernel.dicom.reader.sagittal_weightings", weightings)
    monkeypatch.setattr("lumbar_kernel.dicom.reader.COMPARED", (4,))
    assert len(only_study(tmp_path).series[0].slices) == 10
    assert seen == [0, 4, 10, 14]


def test_a_file_that_fails_in_the_comparison_and_again_is_named_once(tmp_path, monkeypatch):
    undecided(tmp_path, "2", 5)
    path = tmp_path / "1" / "3" / "1.dcm"
    write_enhanced(path, np.ones((4, 6, 8), np.uint16), positions=[(0, 0, 4.0 * k) for k in range(4)])
    dataset = pydicom.dcmread(path)
    dataset.SeriesDescription, dataset.SeriesInstanceUID, dataset.PixelData = "T2 ax", "1.3", b"\1\0"
    dataset.save_as(path)
    monkeypatch.setattr("lumbar_kernel.dicom.reader.COMPARED", (2,))
    study = only_study(tmp_path)
    assert [series.series_id for series in study.series] == ["2"]
    assert [problem.partition(":")[0] for problem in study.problems] == ["3/1.dcm", "series 3"]
