import pytest

from lumbar_kernel import Config
from lumbar_kernel.runtime.messages import studies_at_once
from lumbar_kernel.runtime.sharding import shards, studies_to_draw


class Files:
    """Stands in for the files of a study."""

    def __init__(self, study_id):
        self.study_id = str(study_id)


@pytest.mark.parametrize("devices", [("cpu",), ("cpu", "cpu"), ("cuda:0", "cuda:1"), ("a", "b", "c")])
@pytest.mark.parametrize("count", [1, 4, 5, 11, 40])
def test_whole_blocks_are_dealt_out_and_nothing_is_lost(count, devices):
    studies = [Files(number) for number in range(count)]
    assigned = shards(studies, devices)
    assert sorted((item for shard in assigned for item in shard.studies), key=studies.index) == studies
    assert all(shard.studies for shard in assigned)
    size = studies_at_once(devices[0])
    for shard in assigned:
        for start in range(0, len(shard.studies), size):
            block = [studies.index(item) for item in shard.studies[start : start + size]]
            assert block[0] % size == 0
            assert block == list(range(block[0], block[0] + len(block)))


@pytest.mark.parametrize(("options", "drawn"), [({"pictures": 2}, 2), ({"html": True}, 9), ({}, 0)])
def test_the_first_studies_of_the_run_are_drawn_however_they_are_dealt_out(tmp_path, options, drawn):
    studies = [Files(number) for number in range(9)]
    first = studies_to_draw(Config(data=tmp_path, output=tmp_path, **options), studies)
    assert first == {item.study_id for item in studies[:drawn]}
    assert all(shard.drawn == first for shard in shards(studies, ("a", "b"), drawn=first))
