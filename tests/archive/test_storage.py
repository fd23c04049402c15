import pickle

import pyarrow as pa
import pytest

from lumbar_kernel.archive.storage import Folder, is_url
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


def test_files_are_written_read_listed_and_removed(folder):
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


def test_tables_come_back_in_batches_after_a_journey_to_another_process(folder):
    table = pa.table({"a": list(range(10)), "b": ["x"] * 10})
    folder.write_table("one.parquet", table, row_group=4)
    there = pickle.loads(pickle.dumps(folder))
    assert there == folder
    batches = list(there.tables(["a"], batch=3))
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


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ConfigError, match="cannot be opened"):
        Folder.of("nothing-of-that-name://bucket").names()
