import pytest

from lumbar_kernel import Config
from lumbar_kernel.runtime.sharding import MAX_WORKERS_EACH, shards, studies_at_once, studies_to_draw, worker_devices


class Files:
    """Stands in for the files of a study."""

    def __init__(self, study_id):
        self.study_id = str(study_id)


@pytest.mark.parametrize(
    ("working", "studies", "cores", "expected"),
    [
        (("cpu",), 40, 2, ("cpu", "cpu")),
        (("cpu",), 3, 2, ("cpu", "cpu")),
        (("cpu",), 2, 2, ("cpu",)),
        (("cpu",), 0, 2, ("cpu",)),
        (("cpu",), 100, 64, ("cpu",) * MAX_WORKERS_EACH),
        (("cpu", "cpu", "cpu"), 40, 2, ("cpu", "cpu", "cpu")),
        (("cuda:0", "cuda:1"), 720, 4, ("cuda:0", "cuda:1") * 2),
        (("cuda:0", "cuda:1"), 720, 16, ("cuda:0", "cuda:1") * 6),
        (("cuda:0",), 720, 4, ("cuda:0",) * 3),
        (("cuda:0",), 17, 16, ("cuda:0",) * 3),
        (("cuda:0",), 720, 1, ("cuda:0",)),
    ],
)
def test_workers_keep_all_cores_busy(working, studies, cores, expected):
    assert worker_devices(working, studies=studies, cores=cores) == expected


DEVICES = [("cpu",), ("cpu", "cpu"), ("cuda:0", "cuda:1"), ("a", "b", "c"), ("a",) * 12]


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("count", [1, 4, 5, 11, 40, 320])
def test_every_study_is_assigned_once_in_blocks_of_neighbours(count, devices):
    studies = [Files(number) for number in range(count)]
    assigned = shards(studies, devices)
    assert sorted((item for shard in assigned for item in shard.studies), key=studies.index) == studies
    assert [shard.number for shard in assigned] == list(range(len(assigned)))
    assert all(shard.studies for shard in assigned)
    size = studies_at_once(devices[0])
    for shard in assigned:
        for start in range(0, len(shard.studies), size):
            block = [studies.index(item) for item in shard.studies[start : start + size]]
            assert block[0] % size == 0 or devices[0] != "cpu"
            assert block == list(range(block[0], block[0] + len(block)))


@pytest.mark.parametrize("count", [4, 5, 11, 320])
def test_workers_of_accelerators_get_equal_shares(count):
    counts = [len(shard.studies) for shard in shards([Files(number) for number in range(count)], ("a",) * 12)]
    assert len(counts) == min(count, 12)
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("count", [2, 5, 11])
def test_the_companions_of_a_study_do_not_depend_on_the_number_of_cores(count):
    studies = [Files(number) for number in range(count)]

    def blocks(cores):
        size = studies_at_once("cpu")
        return {
            shard.studies[start : start + size]
            for shard in shards(studies, ("cpu",) * cores)
            for start in range(0, len(shard.studies), size)
        }

    assert blocks(1) == blocks(2) == blocks(4)


@pytest.mark.parametrize(("options", "drawn"), [({"pictures": 2}, 2), ({"html": True}, 9), ({}, 0)])
def test_the_first_studies_of_the_run_are_drawn_however_they_are_dealt_out(tmp_path, options, drawn):
    studies = [Files(number) for number in range(9)]
    first = studies_to_draw(Config(data=tmp_path, output=tmp_path, **options), studies)
    assert first == {item.study_id for item in studies[:drawn]}
    assert all(shard.drawn == first for shard in shards(studies, ("a", "b"), drawn=first))
