"""Shards of an index whose rows are written here."""

import pyarrow as pa
import pytest

from lumbar_kernel.archive.ids import IdSet
from lumbar_kernel.archive.index import Index
from lumbar_kernel.archive.index_schema import SERIES
from lumbar_kernel.archive.shards import Shard, read_shard, shards
from lumbar_kernel.archive.storage import Folder

PARTS = {"part-00000.parquet": "abcde", "part-00001.parquet": "fg"}


@pytest.fixture
def index(tmp_path):
    """Two files of the index, two series for each study."""
    folder = Folder.of(tmp_path)
    nothing = dict.fromkeys(SERIES.names)
    for part, names in PARTS.items():
        rows = [
            {**nothing, "study_number": number, "study_id": name, "series_id": series, "paths": [f"{name}/{series}/1"]}
            for number, name in enumerate(names)
            for series in "st"
        ]
        (folder / "studies").write_table(part, pa.Table.from_pylist(rows, schema=SERIES), row_group=3)
    return Index(folder, folder, 7, 14, 0, {})


def planned(index, *done):
    found = shards(index, IdSet.of([done]), studies=2)
    return [(item.part[9], item.numbers, "".join(item.study_ids)) for item in found]


def test_shards_lie_on_a_fixed_grid_over_each_file_of_the_index(index):
    assert planned(index) == [("0", (0, 1), "ab"), ("0", (2, 3), "cd"), ("0", (4,), "e"), ("1", (0, 1), "fg")]
    assert planned(index, "a", "c", "d") == [("0", (1,), "b"), ("0", (4,), "e"), ("1", (0, 1), "fg")]
    assert planned(index, *"abcdefg") == []


def test_a_shard_has_the_files_of_its_studies_alone(index):
    (shard,) = [item for item in shards(index, IdSet.of(["bd"]), studies=9) if item.part == "part-00000.parquet"]
    studies = read_shard(index.folder, shard)
    assert [study.study_id for study in studies] == ["a", "c", "e"]
    assert [[path.as_posix() for item in study.series for path in item.paths] for study in studies] == [
        [f"{name}/s/1", f"{name}/t/1"] for name in "ace"
    ]


def test_the_studies_of_a_shard_can_be_tried_one_by_one():
    assert Shard("part", (3, 5), ("a", "b")).singles() == [Shard("part", (3,), ("a",)), Shard("part", (5,), ("b",))]
