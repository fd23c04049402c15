from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from benchmarks.robustness.dicom_files import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    tilted_axial,
    write_enhanced,
    write_slice,
    write_stack,
)
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import StudyFiles
from tests.real_data import SHARED, unpack

LATERAL = [(float(x), 0.0, 0.0) for x in (-8, -4, 0, 4, 8)]
UPWARD = [(0.0, 0.0, float(z)) for z in (0, 4, 8)]


def only_study(data: Path, **options: str):
    (files,) = find_studies(data, **options)
    return read_study(files)


def xs(study) -> list[float]:
    return [float(item.plane.origin[0]) for item in study.series[0].slices]


def shape(studies: tuple[StudyFiles, ...]) -> dict[str, dict[str, int]]:
    return {study.study_id: {series.series_id: len(series.paths) for series in study.series} for study in studies}


def write_table(path: Path, *rows: str) -> None:
    path.write_text("\n".join(["study_id,series_id,series_description", *rows]) + "\n")


@pytest.fixture
def competition(tmp_path):
    """Studies 9 and 10 with one T2 series each, study 11 in the table only, series 3 in no table."""
    for study in ("10", "9"):
        write_stack(tmp_path / "test_images" / study / "2", LATERAL)
    write_stack(tmp_path / "test_images" / "9" / "3", UPWARD, orientation=AXIAL, SeriesDescription="T2 ax")
    rows = [f"{study},2,Sagittal T2/STIR" for study in ("9", "10", "11")]
    write_table(tmp_path / "test_series_descriptions.csv", *rows)
    return tmp_path


# ---- finding


def test_competition_folder_gives_studies_and_roles_in_numeric_order(competition):
    studies = find_studies(competition)
    assert shape(studies) == {"9": {"2": 5, "3": 3}, "10": {"2": 5}, "11": {}}
    assert [study.study_id for study in studies] == ["9", "10", "11"]
    assert [series.role for series in studies[0].series] == [SAGITTAL_T2, None]
    assert [path.name for path in studies[0].series[0].paths] == [f"{i}.dcm" for i in range(1, 6)]


def test_images_folder_given_directly_is_the_same(competition):
    assert find_studies(competition / "test_images") == find_studies(competition)


def test_sample_submission_adds_studies_for_the_test_split_only(competition):
    (competition / "sample_submission.csv").write_text("row_id,normal_mild\n12_spinal_canal_stenosis_l1_l2,1\n")
    assert [study.study_id for study in find_studies(competition)] == ["9", "10", "11", "12"]
    assert "12" not in shape(find_studies(competition, split="train"))


def test_unreadable_files_still_make_a_study_in_the_competition_folder(tmp_path):
    folder = tmp_path / "test_images" / "5" / "6"
    folder.mkdir(parents=True)
    (folder / "1.dcm").write_text("not an image")
    study = only_study(tmp_path)
    assert (study.study_id, study.series) == ("5", ())
    assert "not a DICOM file" in study.problems[0]


def test_study_folder_given_directly_is_named_after_itself(tmp_path):
    for number in (1, 2):
        write_stack(tmp_path / "77" / str(number), LATERAL, StudyInstanceUID="1.7", SeriesInstanceUID=f"1.7.{number}")
    assert shape(find_studies(tmp_path / "77")) == {"77": {"1": 5, "2": 5}}


def test_single_series_folder_takes_its_study_from_the_uid(tmp_path):
    write_stack(tmp_path / "flat", LATERAL, StudyInstanceUID="1.7", SeriesInstanceUID="1.7.1")
    assert shape(find_studies(tmp_path / "flat")) == {"1.7": {"flat": 5}}


@pytest.mark.parametrize("nest", [".", "export/more"])
def test_bare_study_folders_side_by_side_are_named_after_themselves(tmp_path, nest):
    for study in ("8", "70"):
        uids = {"StudyInstanceUID": f"1.{study}", "SeriesInstanceUID": f"1.{study}.1"}
        write_stack(tmp_path / nest / study / "s", LATERAL, **uids)
    assert shape(find_studies(tmp_path)) == {"8": {"s": 5}, "70": {"s": 5}}


def test_study_folders_that_hold_their_files_directly_are_studies(tmp_path):
    for study in ("8", "70"):
        for series in (1, 2):
            uids = {"StudyInstanceUID": f"1.{study}", "SeriesInstanceUID": f"1.{study}.{series}"}
            write_slice(tmp_path / study / f"{series}.dcm", **uids)
    assert shape(find_studies(tmp_path)) == {"8": {"1.8.1": 1, "1.8.2": 1}, "70": {"1.70.1": 1, "1.70.2": 1}}


def test_flat_folder_with_two_studies_is_told_apart_by_uids(tmp_path):
    for number in range(8):
        uid = f"1.{number % 2}"
        write_slice(tmp_path / f"{number}", StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.{number % 4 // 2}")
    assert shape(find_studies(tmp_path)) == {"1.0": {"1.0.0": 2, "1.0.1": 2}, "1.1": {"1.1.0": 2, "1.1.1": 2}}


def test_files_without_uids_are_grouped_by_folder(tmp_path):
    for series in ("a", "b"):
        write_stack(tmp_path / "9" / series, LATERAL, StudyInstanceUID=None, SeriesInstanceUID=None)
    assert shape(find_studies(tmp_path)) == {"9": {"a": 5, "b": 5}}
    assert shape(find_studies(tmp_path / "9" / "a")) == {"a": {"a": 5}}


def test_what_is_no_dicom_is_passed_over_and_a_broken_file_stays_with_its_series(tmp_path):
    write_stack(tmp_path / "4" / "s", LATERAL)
    (tmp_path / "4" / "s" / "broken.dcm").write_bytes(b"")
    for name in ("DICOMDIR", "notes.txt", ".hidden.dcm", "4/readme"):
        (tmp_path / name).write_text("nothing to see")
    assert shape(find_studies(tmp_path)) == {"4": {"s": 6}}


def test_empty_folder_has_no_studies_and_a_missing_one_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert find_studies(tmp_path) == ()
    with pytest.raises(ConfigError, match="nowhere"):
        find_studies(tmp_path / "nowhere")


def test_linked_folders_are_followed_and_loops_end(tmp_path):
    write_stack(tmp_path / "store" / "s", LATERAL)
    (tmp_path / "data" / "test_images").mkdir(parents=True)
    (tmp_path / "data" / "test_images" / "4").symlink_to(tmp_path / "store")
    (tmp_path / "store" / "loop").symlink_to(tmp_path / "data")
    assert shape(find_studies(tmp_path / "data")) == {"4": {"s": 5}}


# ---- order


def test_slices_are_sorted_by_position_not_by_instance(tmp_path):
    shuffled = [LATERAL[i] for i in (3, 0, 4, 2, 1)]
    write_stack(tmp_path / "1" / "2", shuffled, SeriesDescription="T1")
    assert xs(only_study(tmp_path)) == [-8, -4, 0, 4, 8]


@pytest.mark.parametrize("orientation", [SAGITTAL, (0, -1, 0, 0, 0, -1)])
def test_sagittal_slices_run_right_to_left_however_they_were_acquired(tmp_path, orientation):
    for name, positions in (("a", LATERAL), ("b", LATERAL[::-1])):
        write_stack(tmp_path / name / "2", positions, orientation=orientation, SeriesDescription="T1")
        assert xs(only_study(tmp_path / name)) == [-8, -4, 0, 4, 8]


def test_axial_slices_rise_whichever_way_their_normal_points(tmp_path):
    for name, orientation in (("a", AXIAL), ("b", (-1, 0, 0, 0, 1, 0))):
        write_stack(tmp_path / name / "2", UPWARD[::-1], orientation=orientation, SeriesDescription="T2")
        study = only_study(tmp_path / name)
        assert [item.plane.origin[2] for item in study.series[0].slices] == [0, 4, 8]


def test_tilted_axial_blocks_stay_together_although_they_overlap_in_height(tmp_path):
    low, high = [(0.0, 0.0, z) for z in (0.0, 4.0, 8.0)], [(0.0, 0.0, z) for z in (6.0, 10.0, 14.0)]
    for name, positions, degrees in (("high", high, 0), ("low", low, 20)):
        for i, position in enumerate(positions):
            path = tmp_path / "1" / "2" / f"{name}{i}.dcm"
            write_slice(path, position=position, orientation=tilted_axial(degrees), SeriesDescription="T2")
    assert [item.plane.origin[2] for item in only_study(tmp_path).series[0].slices] == [0, 4, 8, 6, 10, 14]


def test_a_repeated_slice_is_dropped_for_the_lower_instance(tmp_path):
    write_stack(tmp_path / "1" / "2", [*LATERAL, LATERAL[2]], SeriesDescription="T1")
    study = only_study(tmp_path)
    assert [item.instance_number for item in study.series[0].slices] == [1, 2, 3, 4, 5]
    assert "1 slices repeat" in study.problems[0]


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
    assert np.array_equal(slices[0].pixels, frames[1] * 2.0 + 10)


def test_the_order_of_files_changes_nothing(competition):
    study = find_studies(competition)[0]
    turned = StudyFiles("9", tuple(type(s)(s.series_id, s.role, s.paths[::-1]) for s in study.series))
    for one, other in zip(read_study(study).series, read_study(turned).series, strict=True):
        assert [s.instance_number for s in one.slices] == [s.instance_number for s in other.slices]


# ---- roles


@pytest.mark.parametrize(
    ("tags", "role"),
    [
        ({"SeriesDescription": "SAG T1 TSE"}, SAGITTAL_T1),
        ({"SeriesDescription": "Sag T2 T12-S1"}, SAGITTAL_T2),
        ({"SeriesDescription": "t2_tirm_sag"}, SAGITTAL_T2),
        ({"EchoTime": 95, "RepetitionTime": 3500}, SAGITTAL_T2),
        ({"EchoTime": 11, "RepetitionTime": 600}, SAGITTAL_T1),
        ({"EchoTime": 45, "RepetitionTime": 4000, "InversionTime": 160}, SAGITTAL_T2),
        ({"EchoTime": 9, "RepetitionTime": 2200, "InversionTime": 860}, SAGITTAL_T1),
    ],
)
def test_headers_name_the_role_where_no_table_does(tmp_path, tags, role):
    write_stack(tmp_path / "1" / "2", LATERAL, **tags)
    assert [series.role for series in only_study(tmp_path).series] == [role]


@pytest.mark.parametrize(
    ("orientation", "description"),
    [(CORONAL, "T2"), (AXIAL, "T1 ax"), (SAGITTAL, "PD sag"), (SAGITTAL, "3-plane loc T2"), (SAGITTAL, "localizer")],
)
def test_series_that_no_role_wants_are_told(tmp_path, orientation, description):
    write_stack(tmp_path / "1" / "2", LATERAL, orientation=orientation, SeriesDescription=description)
    study = only_study(tmp_path)
    assert study.series == ()
    assert "no role wants it" in study.problems[-1]


def test_scout_in_three_planes_has_no_role(tmp_path):
    for i, orientation in enumerate([SAGITTAL, AXIAL, CORONAL]):
        write_slice(tmp_path / "1" / "2" / f"{i}.dcm", orientation=orientation, SeriesDescription="T2")
    study = only_study(tmp_path)
    assert study.series == ()
    assert "in several planes" in study.problems[0]


def test_remnant_loses_to_a_fuller_series_but_counts_alone(tmp_path):
    write_stack(tmp_path / "1" / "2", LATERAL[:2], SeriesDescription="T2", SeriesInstanceUID="1.2")
    assert len(only_study(tmp_path).series) == 1
    write_stack(tmp_path / "1" / "3", LATERAL, SeriesDescription="T2", SeriesInstanceUID="1.3")
    study = only_study(tmp_path)
    assert [series.series_id for series in study.series] == ["3"]
    assert "only 2 slices" in study.problems[0]


def test_table_role_wins_over_the_description(competition):
    for path in (competition / "test_images" / "10" / "2").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SeriesDescription = "T1"
        dataset.save_as(path)
    assert read_study(find_studies(competition)[1]).series[0].role == SAGITTAL_T2


def test_geometry_wins_over_a_table_that_contradicts_it(competition):
    write_table(competition / "test_series_descriptions.csv", "9,2,Axial T2", "9,3,Sagittal T1")
    study = read_study(find_studies(competition)[0])
    assert "the table says Axial T2 but its slices are sagittal" in study.problems[0]
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


def spine(*, canal: float, fat: float) -> np.ndarray:
    """A sagittal drawing of 300 × 300 mm: grey body, upright canal 13 mm wide, fat under the skin of the back."""
    image = np.full((150, 150), 400.0)
    image[:, 74:81] = canal
    image[:, 115:135] = fat
    image[:, 135:] = 10
    return (image + np.random.default_rng(0).normal(0, 10, image.shape)).clip(0).astype(np.uint16)


@pytest.mark.parametrize("t2_fat", [900, 60])
def test_stripped_sagittal_series_are_told_apart_by_their_fluid(tmp_path, t2_fat):
    drawings = {"a": spine(canal=1000, fat=t2_fat), "b": spine(canal=150, fat=1000)}
    for name, image in drawings.items():
        for i, position in enumerate(LATERAL):
            path = tmp_path / "1" / name / f"{i}.dcm"
            uid = f"1.{ord(name)}"
            write_slice(
                path, image, position=position, orientation=SAGITTAL, PixelSpacing=[2, 2], SeriesInstanceUID=uid
            )
    roles = {series.series_id: series.role for series in only_study(tmp_path).series}
    assert roles == {"a": SAGITTAL_T2, "b": SAGITTAL_T1}
    shutil.rmtree(tmp_path / "1" / "a")
    assert only_study(tmp_path).series[0].role == SAGITTAL_T1


# ---- the real studies

COUNTS = {
    "44036939": {"2828203845": 25, "3481971518": 47, "3844393089": 25},
    "100206310": {"1012284084": 60, "1792451510": 18, "2092806862": 18},
    "4646740": {"3201256954": 54, "3486248476": 17, "3666319702": 17},
}


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    return unpack("rsna_dicom", "studies.zip", "study_4646740.zip", into=root)


def real_roles() -> dict[str, str]:
    tables = [SHARED / "rsna_tables" / f"{split}_series_descriptions.csv" for split in ("test", "train")]
    rows = [row for table in tables for row in csv.DictReader(table.read_text().splitlines())]
    return {row["series_id"]: row["series_description"] for row in rows if row["study_id"] in COUNTS}


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


@pytest.mark.real
@pytest.mark.parametrize("study_id", COUNTS)
def test_real_studies_stripped_of_every_hint_get_the_roles_of_the_tables(real, tmp_path, study_id):
    (folder,) = real.glob(f"*_images/{study_id}")
    hints = ("SeriesDescription", "EchoTime", "RepetitionTime", "InversionTime", "ScanningSequence", "ProtocolName")
    for path in folder.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        for hint in hints:
            if hint in dataset:
                del dataset[hint]
        target = tmp_path / study_id / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        dataset.save_as(target)
    study = only_study(tmp_path)
    assert study.study_id == study_id
    assert {series.series_id: series.role for series in study.series} == {
        series_id: real_roles()[series_id] for series_id in COUNTS[study_id]
    }


# ---- broken files


@pytest.mark.parametrize("odd", [{"SeriesDescription": "localizer"}, {"SeriesDescription": "T1", "EchoTime": 5}])
def test_one_odd_header_does_not_decide_what_a_series_is(tmp_path, odd):
    write_stack(tmp_path / "1" / "2", LATERAL, SeriesDescription="T2 sag")
    write_slice(tmp_path / "1" / "2" / "3.dcm", position=LATERAL[2], orientation=SAGITTAL, InstanceNumber=3, **odd)
    study = only_study(tmp_path)
    assert [series.role for series in study.series] == [SAGITTAL_T2]
    assert xs(study) == [-8, -4, 0, 4, 8]


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
