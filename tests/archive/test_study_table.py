"""Tables of studies and paths as people make them."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lumbar_kernel.archive.sources import open_source
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.archive.study_table import TableRow, folder_and_name, is_table, read_rows
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.schema import SAGITTAL_T2


def rows_of(folder, text, name="list.csv"):
    (folder / name).write_text(text)
    return list(read_rows(str(folder / name)))


def test_ids_paths_and_roles_are_texts_without_spaces_around_them(tmp_path):
    text = "study_id,series_id,path,role\n007,010, a/1.dcm ,SAGITTAL STIR\n008,,b/,unknown\n"
    assert rows_of(tmp_path, text) == [
        TableRow("007", "a/1.dcm", "010", SAGITTAL_T2),
        TableRow("008", "b", "", None),
    ]


def test_rows_without_a_study_or_a_path_are_passed_over(tmp_path):
    assert rows_of(tmp_path, "study_id,path\n,a\nA,\nA,b\n") == [TableRow("A", "b")]


def test_numbers_and_gaps_of_a_parquet_table_are_texts_too(tmp_path):
    table = pa.table({"study_id": [7, 8], "path": ["a", "b"], "series_id": ["1", None]})
    pq.write_table(table, tmp_path / "list.PARQUET")
    assert list(read_rows(str(tmp_path / "list.PARQUET"))) == [TableRow("7", "a", "1"), TableRow("8", "b")]


@pytest.mark.parametrize(
    ("data", "table"), [("a.csv", True), ("a.CSV", True), ("s3://b/a.parquet", True), ("a", False)]
)
def test_a_table_is_told_by_its_suffix(data, table):
    assert is_table(data) is table


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("study,file\n1,2\n", "no column study_id, path; it needs study_id, path"),
        ("study_id,file\n1,2\n", "no column path; it needs study_id, path"),
        ("", "cannot be read"),
        ("study_id,path\n1,2,3\n", "cannot be read"),
    ],
)
@pytest.mark.parametrize("name", ["list.csv", "list.parquet"])
def test_a_table_that_makes_no_sense_is_refused(tmp_path, text, problem, name):
    with pytest.raises(ConfigError, match=problem if name == "list.csv" else "cannot be read"):
        rows_of(tmp_path, text, name)


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        list(read_rows(str(tmp_path / "absent.csv")))


def test_other_columns_may_hold_anything_anywhere(tmp_path):
    rows = [f"A,{'x' * 500}/{number}.dcm,{number}" for number in range(3000)]  # more than one block
    found = rows_of(tmp_path, "\n".join(["study_id,path,note", *rows, "B,y,seen twice", ""]))
    assert len(found) == 3001
    assert found[-1] == TableRow("B", "y")


@pytest.mark.parametrize(
    ("data", "folder"), [("list.csv", "."), ("a/list.csv", "a"), ("/list.csv", "/"), ("s3://b/a/list.csv", "s3://b/a")]
)
def test_paths_of_a_table_are_relative_to_its_folder(data, folder, monkeypatch):
    monkeypatch.setattr(Folder, "has", lambda *_: True)
    assert folder_and_name(data) == (Folder.of(folder), "list.csv")
    assert open_source(data, split="test").root == Folder.of(folder)


@pytest.mark.parametrize(("path", "parent"), [("1.dcm", ""), ("a/b/1.dcm", "a/b"), ("/1.dcm", "/"), ("/a/1.dcm", "/a")])
def test_a_row_has_a_folder_and_a_name(path, parent):
    row = TableRow("A", path)
    assert (row.parent, row.name) == (parent, "1.dcm")


def test_rows_lie_together_that_share_study_folder_series_and_role():
    rows = [TableRow("A", "a/1", "s"), TableRow("B", "a/1", "s"), TableRow("A", "b/1", "s"), TableRow("A", "a/1", "t")]
    rows += [TableRow("A", "a/1", "s", SAGITTAL_T2)]
    assert len({row.place for row in rows}) == len(rows)
    assert TableRow("A", "a/2", "s").place == rows[0].place
