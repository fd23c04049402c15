"""Listings of stores whose keys, and of tables whose paths, lead out of them."""

import pytest

from lumbar_kernel.archive.header_chunks import read_chunk
from lumbar_kernel.archive.ids import AS_THEY_ARE, IdSet
from lumbar_kernel.archive.sources import LEADS_OUT, Listing, open_source
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.archive.study_parts import study_part
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.folders import layout_of
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1


def listed(data):
    source = open_source(data, split="test")
    return list(source.listings()), source.skipped[LEADS_OUT]


def test_keys_that_lead_out_of_a_store_are_left_out(store):
    for name in ("a/1.dcm", "a/../../etc/2.dcm", "a/../../etc/3.dcm", "../4.dcm"):
        store.pipe(f"/data/{name}", b"1")
    assert listed("memory://data") == ([Listing("a", ("1.dcm",))], 3)


def test_rows_of_a_table_behind_a_url_that_lead_out_cost_only_themselves(store):
    for name in ("data/a/1.dcm", "data/b/2.dcm", "elsewhere/3.dcm"):
        store.pipe(f"/{name}", b"1")
    rows = ["A,a/1.dcm", "A,../elsewhere/3.dcm", "A,b", "B,/elsewhere/3.dcm", "C,../elsewhere", "C,a/../../elsewhere"]
    store.pipe("/data/list.csv", "\n".join(["study_id,path", *rows]).encode())
    listings, refused = listed("memory://data/list.csv")
    assert refused == 4
    assert {(item.study, f"{item.folder}/{name}") for item in listings for name in item.names} == {
        ("A", "a/1.dcm"),
        ("A", "b/2.dcm"),
    }
    assert {item.study for item in listings} == {"A", "B", "C"}


def test_the_other_half_of_the_competition_is_never_taken_instead(tmp_path):
    (tmp_path / "test_images" / "5" / "6").mkdir(parents=True)
    assert open_source(str(tmp_path), split="test").layout == layout_of(tmp_path, split="test")
    with pytest.raises(ConfigError, match=r"holds test_images but no train_images.*--split test"):
        open_source(str(tmp_path), split="train")


def test_a_table_on_disk_may_name_files_elsewhere(tmp_path):
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "list.csv").write_text(f"study_id,path\nA,../a/1.dcm\nB,{tmp_path}/b/2.dcm\n")
    listings = [Listing("../a", ("1.dcm",), "A"), Listing(f"{tmp_path}/b", ("2.dcm",), "B")]
    assert listed(str(tmp_path / "table" / "list.csv")) == (listings, 0)


@pytest.mark.parametrize("data", ["{}", "file://{}"], ids=["path", "url"])
def test_a_study_of_a_table_whose_paths_lead_to_nothing_is_a_study_still(tmp_path, data):
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("study_id,path\nA,absent\nB,empty\n")
    listings, _ = listed(f"{data.format(tmp_path)}/list.csv")
    assert files_by_study(tmp_path, listings) == {"A": 0, "B": 0}


def test_a_study_folder_of_the_layout_without_dicom_is_a_study_as_for_predict(tmp_path):
    (tmp_path / "test_images" / "7" / "1").mkdir(parents=True)
    (tmp_path / "test_images" / "7" / "1" / "notes.txt").write_text("no DICOM")
    assert [study.study_id for study in find_studies(tmp_path, split="test")] == ["7"]
    assert files_by_study(tmp_path, listed(str(tmp_path))[0]) == {"7": 0}


def files_by_study(root, listings):
    """Study → files that the index has of it."""
    rows = read_chunk(Folder.of(root), listings, b"k" * 32)[0].to_pylist()
    part = study_part(Folder.of(root), rows, ids=AS_THEY_ARE, shared=IdSet.of([]), roles={})
    return {row["study_id"]: row["files"] for row in part.table.to_pylist()}


def test_files_of_one_folder_keep_the_roles_that_a_table_gives_each(tmp_path):
    rows = ["A,flat/1.dcm,Sagittal T1", "A,flat/2.dcm,Sagittal T1", "A,flat/3.dcm,Axial T2", "A,flat/4.dcm,"]
    (tmp_path / "list.csv").write_text("\n".join(["study_id,path,role", *rows]))
    listings, _ = listed(str(tmp_path / "list.csv"))
    roles = {name: item.role for item in listings for name in item.names}
    assert roles == {"1.dcm": SAGITTAL_T1, "2.dcm": SAGITTAL_T1, "3.dcm": AXIAL_T2, "4.dcm": None}


@pytest.mark.parametrize("data", ["{}", "file://{}"], ids=["path", "url"])
def test_hidden_files_and_folders_are_left_out(tmp_path, data):
    top = tmp_path / ".archive"  # hidden itself, but named
    for name in ("a/1.dcm", "a/.1.dcm", "a/DICOMDIR", "a/.trash/2.dcm", ".snapshot/a/1.dcm", "__MACOSX/a/1.dcm"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"1")
    assert listed(data.format(top)) == ([Listing("a", ("1.dcm",))], 0)
    (top / "list.csv").write_text("study_id,path\nA,.snapshot\n")
    listings, _ = listed(f"{data.format(top)}/list.csv")
    assert [item for item in listings if item.names] == [Listing(".snapshot/a", ("1.dcm",), "A")]


@pytest.mark.parametrize("data", ["{}/absent.csv", "file://{}/absent.parquet"], ids=["path", "url"])
def test_a_table_that_is_not_there_is_refused_before_anything_is_done(tmp_path, data):
    with pytest.raises(ConfigError, match="there is no table"):
        open_source(data.format(tmp_path), split="test")
