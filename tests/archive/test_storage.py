import pickle

import pyarrow as pa
import pytest

from lumbar_kernel.archive.storage import Folder, is_url, stays_below
from lumbar_kernel.errors import ConfigError


@pytest.fixture(params=["path", "url"])
def folder(request, tmp_path):
    """The same folder by its path and through fsspec."""
    (tmp_path / "f").mkdir()
    return Folder.of(tmp_path / "f" if request.param == "path" else f"file://{tmp_path / 'f'}/")


def test_paths_and_urls_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Folder.of("out").local == tmp_path / "out"
    assert Folder.of("s3://bucket/out/").local is None
    assert not is_url("C:/out")
    assert not is_url("c://out")
    assert Folder.of("s3://bucket/out/") == Folder.of("s3://bucket/out")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Folder.of("~/out").local == tmp_path / "out"


@pytest.mark.parametrize(
    ("path", "below"), [("a/b", True), ("a..b/..c", True), ("../a", False), ("a/../b", False), ("/a", False)]
)
def test_a_path_stays_below_a_folder_unless_it_is_absolute_or_leads_up(path, below):
    assert stays_below(path) is below


def test_files_are_written_read_listed_and_removed(folder, tmp_path):
    assert folder.names() == (folder / "absent").names() == []
    folder.write_json("a.json", {"b": 1})
    folder.write_bytes("b", b"x")
    folder.write_bytes("b", b"y")
    assert folder.names() == ["a.json", "b"]
    assert (folder.read_json("a.json"), folder.read_bytes("b")) == ({"b": 1}, b"y")
    assert folder.read_json("c.json") is None
    folder.remove("b")
    folder.remove("b")
    assert not folder.has("b")
    folder.write_bytes(".hidden", b"")
    (tmp_path / "f" / "c").mkdir()
    (folder / "c").write_bytes("d", b"")
    assert folder.names() == ["a.json", "c"]
    folder.remove("c")
    assert folder.names() == ["a.json"]


def test_the_names_behind_a_url_are_those_of_now(store, monkeypatch):
    asked = []

    def ls(path, **options):
        asked.append(options)
        return [f"{path}/b", f"{path}/a/"]

    monkeypatch.setattr(store, "ls", ls)
    assert Folder.of("memory://out").names() == ["a", "b"]
    assert [options["refresh"] for options in asked] == [True]


@pytest.mark.parametrize(
    ("first", "last", "expected"), [(0, 1, "a"), (2, 2, "bc"), (2, 5, "bcd"), (6, 9, "e"), (7, 9, "")]
)
def test_rows_between_two_keys_come_with_both_ends_whatever_their_groups(folder, first, last, expected):
    folder.write_table("t", pa.table({"key": [1, 2, 2, 5, 6], "name": list("abcde")}), row_group=2)
    assert [row["name"] for row in folder.rows_between("t", first, last)] == list(expected)
    folder.write_table("empty", pa.table({"key": pa.array([], pa.int32())}))
    assert list(folder.rows_between("empty", first, last)) == []


def test_only_parquet_files_are_tables(folder):
    folder.write_table("a.parquet", pa.table({"a": [1]}))
    folder.write_bytes("shared", b"no table")
    assert [name for name, _ in folder.tables(["a"])] == ["a.parquet"]


def test_tables_come_back_after_a_journey_to_another_process(folder):
    table = pa.table({"a": list(range(10)), "b": ["x"] * 10})
    folder.write_table("one.parquet", table, row_group=4)
    there = pickle.loads(pickle.dumps(folder))
    assert there == folder
    batches = list(there.tables(["a"]))
    assert [value for _, batch in batches for value in batch.column("a").to_pylist()] == list(range(10))
    assert {name for name, _ in batches} == {"one.parquet"}
    with there.parquet("one.parquet") as file:
        assert file.num_row_groups == 3


def test_a_write_that_fails_leaves_the_file_of_before(tmp_path, monkeypatch):
    folder = Folder.of(tmp_path)
    folder.write_bytes("a", b"before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        folder.write_bytes("a", b"after")
    assert folder.read_bytes("a") == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_blocks_that_end_early_leave_the_file_of_before_behind_a_url_too(store):
    def blocks():
        yield b"half"
        raise OSError("the results cannot be read")

    folder = Folder.of("memory://out")
    folder.write_blocks("a", [b"be", b"fore"])
    with pytest.raises(OSError, match="cannot be read"):
        folder.write_blocks("a", blocks())
    assert folder.read_bytes("a") == b"before"
    assert folder.names() == ["a"]


@pytest.mark.parametrize("error", [ImportError, ValueError, OSError])
def test_a_scheme_whose_package_is_absent_or_refuses_is_a_matter_of_the_configuration(monkeypatch, error):
    def refuses(_):
        raise error("install s3fs")

    monkeypatch.setattr("fsspec.core.url_to_fs", refuses)
    with pytest.raises(ConfigError, match="s3://bucket/out cannot be opened: install s3fs"):
        Folder.of("s3://bucket/out").names()


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ConfigError, match="cannot be opened"):
        Folder.of("nothing-of-that-name://bucket").names()
