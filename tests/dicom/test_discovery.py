from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest

from benchmarks.robustness.dicom_files import AXIAL, write_slice, write_stack
from lumbar_kernel.dicom.discovery import Scan, find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.dicom.tables import sample_studies
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.schema import SAGITTAL_T2
from tests.dicom.conftest import LATERAL, UPWARD, inspected, only_study, shape, write_table
from tests.permissions import run_bound_by_permissions


def test_competition_folder_gives_studies_and_roles_in_numeric_order(competition):
    studies = find_studies(competition)
    assert shape(studies) == {"9": {"2": 5, "3": 3}, "10": {"2": 5}, "11": {}}
    assert [study.study_id for study in studies] == ["9", "10", "11"]
    assert [series.role for series in studies[0].series] == [SAGITTAL_T2, None]
    assert [path.name for path in studies[0].series[0].paths] == [f"{i}.dcm" for i in range(1, 6)]


def test_images_folder_given_directly_is_the_same(competition):
    direct, whole = find_studies(competition / "test_images"), find_studies(competition)
    assert [study.series for study in direct] == [study.series for study in whole]
    assert [study.folder for study in direct] == ["9", "10", ""]
    assert [study.folder for study in whole] == ["test_images/9", "test_images/10", ""]


@pytest.mark.parametrize("split", ["test", "train"])
@pytest.mark.parametrize("half", ["test", "train"])
def test_images_given_directly_are_read_with_the_tables_of_their_half_whatever_the_split(tmp_path, half, split):
    write_stack(tmp_path / f"{half}_images" / "5" / "1", LATERAL)
    write_table(tmp_path / f"{half}_series_descriptions.csv", "5,1,Sagittal T2/STIR", "6,1,Sagittal T1")
    (tmp_path / "sample_submission.csv").write_text("row_id,normal_mild\n12_spinal_canal_stenosis_l1_l2,1\n")
    studies = find_studies(tmp_path / f"{half}_images", split=split)
    assert [study.study_id for study in studies] == ["5", "6", *(["12"] if half == "test" else [])]
    assert [series.role for series in studies[0].series] == [SAGITTAL_T2]


def test_sample_submission_adds_studies_for_the_test_split_only(competition):
    (competition / "sample_submission.csv").write_text("row_id,normal_mild\n12_spinal_canal_stenosis_l1_l2,1\n")
    assert [study.study_id for study in find_studies(competition)] == ["9", "10", "11", "12"]
    write_stack(competition / "train_images" / "13" / "1", LATERAL)
    assert [study.study_id for study in find_studies(competition, split="train")] == ["13"]


def test_the_other_half_of_the_competition_is_never_taken_instead(competition):
    with pytest.raises(ConfigError, match=r"holds test_images but no train_images.*--split test"):
        find_studies(competition, split="train")


def test_unreadable_files_still_make_a_study_in_the_competition_folder(tmp_path):
    folder = tmp_path / "test_images" / "5" / "6"
    folder.mkdir(parents=True)
    (folder / "1.dcm").write_text("not an image")
    study = only_study(tmp_path)
    assert (study.study_id, study.series) == ("5", ())
    assert "not a DICOM file" in study.problems[0]


def test_a_table_settles_the_studies_of_a_folder_without_the_name_of_the_competition(tmp_path):
    for study in ("5", "7"):
        write_stack(tmp_path / study / "1", LATERAL)  # one UID for both
    write_table(tmp_path / "test_series_descriptions.csv", "5,1,Sagittal T1", "7,1,Sagittal T2/STIR")
    assert shape(find_studies(tmp_path)) == {"5": {"1": 5}, "7": {"1": 5}}


def test_files_without_suffix_and_studies_without_files_count_in_the_competition_folder(tmp_path):
    write_stack(tmp_path / "test_images" / "5" / "1", LATERAL)
    for path in (tmp_path / "test_images" / "5" / "1").iterdir():
        path.rename(path.with_suffix(""))
    (tmp_path / "test_images" / "5" / "1" / "notes.txt").write_text("no image")
    (tmp_path / "test_images" / "6").mkdir()
    assert shape(find_studies(tmp_path)) == {"5": {"1": 5}, "6": {}}


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


def test_two_studies_in_a_flat_folder_are_separated_by_uids(tmp_path):
    for number in range(8):
        uid = f"1.{number % 2}"
        write_slice(tmp_path / f"{number}", StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.{number % 4 // 2}")
    assert shape(find_studies(tmp_path)) == {"1.0": {"1.0.0": 2, "1.0.1": 2}, "1.1": {"1.1.0": 2, "1.1.1": 2}}


def test_patients_who_share_a_study_uid_are_never_merged(tmp_path, caplog):
    for number, patient in enumerate(("ann", "bob")):
        tags = {"PatientID": patient, "StudyInstanceUID": "1.2", "SeriesInstanceUID": f"1.2.{number}"}
        write_stack(tmp_path / "folders" / patient / "s", LATERAL, **tags)
        write_stack(tmp_path / "flat" / patient, LATERAL, **tags)
        for path in sorted((tmp_path / "flat" / patient).iterdir()):
            path.rename(tmp_path / "flat" / f"{patient}{path.name}")
        (tmp_path / "flat" / patient).rmdir()
    assert shape(find_studies(tmp_path / "folders")) == {"ann": {"s": 5}, "bob": {"s": 5}}
    flat = find_studies(tmp_path / "flat")
    assert len(flat) == 2
    for study in flat:
        assert len({path.name[:3] for series in study.series for path in series.paths}) == 1
    assert "shared by 2 patients" in caplog.text
    assert "ann" not in "".join(record.getMessage() for record in caplog.records)


def test_one_patient_with_and_without_an_id_stays_one_study(tmp_path):
    write_stack(tmp_path / "7" / "a", LATERAL, PatientID="ann", SeriesInstanceUID="1.1")
    write_stack(tmp_path / "7" / "b", LATERAL, SeriesInstanceUID="1.2")
    assert shape(find_studies(tmp_path)) == {"7": {"a": 5, "b": 5}}


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


FOLDER_POSITIONS = [(float(x), 0.0, 0.0) for x in (-6, -2, 2, 6)]


@pytest.fixture
def images(tmp_path):
    """Two studies of two series in the competition's layout."""
    for study in ("5", "7"):
        for series in ("1", "2"):
            uids = {"StudyInstanceUID": f"1.{study}", "SeriesInstanceUID": f"1.{study}.{series}"}
            write_stack(
                tmp_path / "test_images" / study / series, FOLDER_POSITIONS, SeriesDescription=f"T{series}", **uids
            )
    return tmp_path / "test_images"


def counts(folder):
    return shape(find_studies(folder))


@pytest.mark.parametrize("target", ["..", ".", "../..", "loop"])
@pytest.mark.parametrize("layout", ["competition", "any"])
def test_links_that_lead_back_change_nothing(images, target, layout):
    folder = images if layout == "competition" else images.rename(images.with_name("bare"))
    before = counts(folder)
    for place in (folder, folder / "5", folder / "5" / "1"):
        (place / "loop").symlink_to(target)
        (place / "0").symlink_to(folder / "7" / "1")
    assert {key: value for key, value in counts(folder).items() if key in ("5", "7")} == before


def test_links_side_by_side_do_not_multiply(tmp_path):
    write_stack(tmp_path / "data" / "20" / "s", FOLDER_POSITIONS)
    for number in range(20):  # 2^20 ways down
        for name in "ab":
            folder = tmp_path / "data" / str(number)
            folder.mkdir(exist_ok=True)
            (folder / name).symlink_to(tmp_path / "data" / str(number + 1))
    assert sum(sum(series.values()) for series in counts(tmp_path / "data").values()) == 4


def test_a_folder_named_like_a_file_and_things_that_are_no_files_block_nothing(images):
    (images / "5" / "1" / "9.dcm").mkdir()
    os.mkfifo(images / "5" / "1" / "8.dcm")
    os.mkfifo(images / "5" / "1" / "pipe")
    (images / "5" / "1" / "7.dcm").symlink_to("/dev/zero")
    study = read_study(find_studies(images)[0])
    assert [len(series.slices) for series in study.series] == [4, 4]
    assert [problem.split(":")[0] for problem in study.problems] == ["1/7.dcm", "1/8.dcm"]


@pytest.mark.parametrize("below", ["5", "5/1", "5/1/2.dcm"])
def test_an_unreadable_file_is_named_in_its_study_and_the_rest_is_read(images, close, below):
    close(images / below)
    first, second = inspected(images)
    kept = {"5": "[]", "5/1": "[4]", "5/1/2.dcm": "[3, 4]"}[below]
    assert first.startswith(f"5|{kept}|")
    assert f"{below}: "[-9:] in first
    assert second == "7|[4, 4]"


@pytest.mark.parametrize(("below", "kept"), [("5", "[]"), ("5/1", "[4]")])
def test_a_folder_that_may_be_listed_but_not_entered_is_named_too(images, close, below, kept):
    close(images / below, left=0o444)
    first, second = inspected(images)
    assert first.startswith(f"5|{kept}|")
    assert "Permission denied" in first
    assert second == "7|[4, 4]"


def test_unreadable_folders_in_a_series_cost_it_nothing(images, close):
    for name in "xy":
        (images / "5" / "1" / name).mkdir()
        close(images / "5" / "1" / name)
    first, _ = inspected(images)
    assert first.startswith("5|[4, 4]|1/x: ")
    assert "|1/y: " in first


@pytest.mark.parametrize("left", [0, 0o444])
def test_an_unreadable_folder_outside_the_layout_does_not_hide_the_rest(images, close, left):
    bare = images.rename(images.with_name("bare"))
    close(bare / "5", left=left)
    (bare / "7" / "notes").write_text("no suffix, no permission")
    close(bare / "7" / "notes")
    assert inspected(bare) == ["7|[4, 4]"]


def test_a_closed_data_folder_is_a_usage_error(images, close):
    close(images)
    done = run_bound_by_permissions("-m", "lumbar_kernel", "inspect", str(images))
    assert done.returncode == 2
    assert "cannot be listed" in done.stderr


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, b"\xff\xfe" * 50, b'study_id,series_id,series_description\n"' + b"x" * 200_000, b"a,b\n1,2\n"],
)
def test_a_broken_table_is_as_good_as_none(images, content):
    before = counts(images)
    for name in ("test_series_descriptions.csv", "sample_submission.csv"):
        (images.parent / name).write_bytes(content)
    assert counts(images.parent) == before
    assert sample_studies(images.parent) == []


def test_nearly_all_studies_are_known_once_the_folders_are_listed(tmp_path):
    for study in range(4):
        for series in range(2):
            uids = {"StudyInstanceUID": f"1.{study}", "SeriesInstanceUID": f"1.{study}.{series}"}
            write_stack(tmp_path / str(study) / str(series), LATERAL, **uids)
    scan, known = Scan(tmp_path), []
    for _ in scan:
        known.append((scan.listed, len(scan.known_studies()), scan.complete))
    assert [number for listed, number, _ in known if not listed] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert not any(complete for *_, complete in known[:-1])
    assert scan.complete
    assert scan.studies() == find_studies(tmp_path)


def test_a_scan_that_is_cut_short_gives_what_it_knows_and_names_the_rest(tmp_path):
    for study in range(9):
        uids = {"StudyInstanceUID": f"1.{study}", "SeriesInstanceUID": f"1.{study}.1"}
        write_stack(tmp_path / f"s{study}", LATERAL, **uids)
    scan = Scan(tmp_path)
    for step, _ in enumerate(scan):
        if step == 11:
            break
    assert not scan.complete
    studies = scan.studies()
    assert [len(study.series[0].paths) for study in studies] == [5, 5, 5, *[1] * 6]
    assert scan.rest == "s3, s4, s5, s6, s7 and 1 more folders"
    first = Scan(tmp_path)
    next(iter(first))
    assert first.rest == "s0, folders that were not even listed"


def test_the_competition_layout_is_scanned_without_opening_a_file(competition, monkeypatch):
    whole = find_studies(competition)
    for name in ("identify", "looks_like_dicom"):
        monkeypatch.setattr(f"lumbar_kernel.dicom.discovery.{name}", None)
    assert find_studies(competition) == whole


def test_study_ids_are_the_same_from_a_folder_by_a_relative_and_an_absolute_path(tmp_path, monkeypatch):
    for series in "12":
        write_stack(tmp_path / "anna" / series, LATERAL, StudyInstanceUID=None, SeriesInstanceUID=f"1.{series}")
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path, Path(), tmp_path / "anna", Path("anna")):
        assert shape(find_studies(path)) == {"anna": {"1": 5, "2": 5}}


def test_folders_below_the_images_of_the_competition_are_the_studies(images):
    write_stack(images / "5" / "extra" / "deep", LATERAL, StudyInstanceUID="1.77", SeriesInstanceUID="1.77.1")
    assert counts(images) == {"5": {"1": 4, "2": 4, "deep": 5}, "7": {"1": 4, "2": 4}}


def test_folders_settle_the_studies_of_the_competition_whatever_their_uids(tmp_path):
    for study in ("5", "7"):
        for number, position in enumerate(LATERAL):
            uids = {"StudyInstanceUID": f"1.{number % 2}", "SeriesInstanceUID": None}
            write_slice(tmp_path / "test_images" / study / f"{number}.dcm", position=position, **uids)
    assert counts(tmp_path) == {"5": {"5": 5}, "7": {"7": 5}}


def test_an_interrupted_copy_beside_the_whole_loses_nothing(tmp_path):
    uids = {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.2.3", "SeriesDescription": "T2"}
    paths = write_stack(tmp_path / "7" / "t2", LATERAL, **uids)
    write_stack(tmp_path / "7" / "ax", UPWARD, orientation=AXIAL, StudyInstanceUID="1.2", SeriesInstanceUID="1.2.4")
    before = only_study(tmp_path)
    for place in ("7/copy of t2", "backup"):
        (tmp_path / place).mkdir()
        for path in paths[:3]:
            (tmp_path / place / path.name).write_bytes(path.read_bytes()[:-60])

    def pixels(study):
        return {
            (series.role, tuple(item.plane.origin)): item.pixels.tobytes()
            for series in study.series
            for item in series.slices
        }

    assert pixels(only_study(tmp_path)) == pixels(before)
    assert len(pixels(before)) == 8


def test_files_packed_one_by_one_are_named(tmp_path, caplog):
    paths = write_stack(tmp_path / "1" / "2", LATERAL)
    for number, path in enumerate(paths[1:]):
        packed = path.with_name(f"{path.name}.{('gz', 'GZ', 'bz2', 'xz')[number]}")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    for number in (6, 7):
        (tmp_path / "1" / "2" / f"{number}.dcm.gz").touch()
    assert shape(find_studies(tmp_path)) == {"1": {"2": 1}}
    said = r"files packed one by one inside the data folder are not read: 1/2/2\.dcm\.gz,.* and 1 more; unpack them"
    assert re.search(said, caplog.text)
