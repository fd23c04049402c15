from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ray

from lumbar_kernel.archive.grading import IndexOptions
from lumbar_kernel.archive.ids import Ids
from lumbar_kernel.archive.index import build_index
from lumbar_kernel.archive.results import ResultSet
from lumbar_kernel.archive.storage import Folder
from tests.archive.conftest import SECRETS

WORDS = sorted({part for value in SECRETS.values() for part in value.split("^")} | {"Secretfile"})


def everything_in(folder):
    """All files of a folder as text, tables row by row."""
    texts = []
    for path in folder.rglob("*"):
        if path.suffix == ".parquet":
            texts += [repr(pq.ParquetFile(path).schema), repr(pq.ParquetFile(path).read().to_pylist())]
        elif path.is_file():
            texts.append(path.read_bytes().decode(errors="replace"))
    return texts


def leaks(texts):
    return sorted({word for text in texts for word in WORDS if word.lower() in text.lower()})


def test_what_ray_logs_holds_nothing_of_the_headers(graded):
    logs = Path(ray._private.worker._global_node.get_logs_dir_path())
    texts = [path.read_bytes().decode(errors="replace") for path in logs.glob("*") if path.is_file()]
    assert any("raylet" in text for text in texts)
    assert leaks(texts) == []


def test_the_words_are_looked_for(graded):
    intact = sorted(set(graded.expected) - graded.broken)
    folders = [folder for name in intact for folder in (graded.out.parent / "data" / "test_images" / name).iterdir()]
    headers = [next(folder.iterdir()).read_bytes().decode("latin-1") for folder in folders]
    assert leaks(headers) == [word for word in WORDS if word != "Secretfile"]


def test_index_results_and_messages_hold_nothing_of_the_headers_but_ids(graded, caplog):
    texts = everything_in(graded.out)
    assert sum(map(len, texts)) > 10_000
    assert leaks([*texts, caplog.text, repr(graded.outcome)]) == []


def test_what_an_index_without_tables_leaves_on_the_way_holds_nothing_either(named, ray_here, tmp_path, monkeypatch):
    removed = []
    monkeypatch.setattr(Folder, "remove", lambda self, name: removed.append(name))
    studies = named / "test_images"
    index = build_index(Folder.of(tmp_path), IndexOptions(str(studies), split="train"))
    assert index.studies == 2
    assert {"headers", "owners", "secret"} <= set(removed)
    assert (tmp_path / "headers").is_dir()
    assert leaks(everything_in(tmp_path)) == []


@pytest.mark.parametrize("split", ["train", "test"])
def test_ids_are_hashed_with_a_key_on_request(named, ray_here, tmp_path, split):
    index = build_index(Folder.of(tmp_path), IndexOptions(str(named / "test_images"), split=split, ids=Ids(b"k" * 16)))
    (part,) = (tmp_path / "studies").glob("*.parquet")
    rows = pq.read_table(part).drop_columns(["paths"]).to_pylist()
    plain = {path.name for path in (named / "test_images").glob("*")}
    plain |= {path.name for path in (named / "test_images").glob("*/*")}
    assert index.studies == len({row["study_id"] for row in rows}) == 2
    assert not [name for name in plain if name in repr(rows)]
    assert {len(row["study_id"]) for row in rows} == {32}
    assert "key" not in (tmp_path / "index.json").read_text()


def test_hashed_ids_go_on_into_results(tmp_path):
    results = ResultSet(Folder.of(tmp_path), "0" * 64)
    one, other = (Ids(key * 16).published("4003253") for key in (b"a", b"b"))
    assert one != other
    assert results.shard_name([one]) != results.shard_name([other])
