import os
import tempfile
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFile

from benchmarks.robustness.dicom_files import write_slice
from lumbar_kernel.archive.remote_files import local_files, remote_identity
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.dicom.identity import identify
from lumbar_kernel.study import SeriesFiles, StudyFiles


@pytest.fixture
def remote(tmp_path):
    write_slice(tmp_path / "a" / "1.dcm", PatientID="p")
    write_slice(tmp_path / "a" / "2", SpecificCharacterSet="\\ISO 2022 IR 87", PatientID="山")
    (tmp_path / "a" / "broken.dcm").write_bytes(b"no image")
    (tmp_path / "a" / "text.txt").write_bytes(b"no image")
    return Folder.of(f"file://{tmp_path}")


def test_identities_are_those_of_files_on_disk(remote, tmp_path):
    for name in ("a/1.dcm", "a/2"):
        size = (tmp_path / name).stat().st_size
        assert remote_identity(remote, name) == (identify(str(tmp_path / name))[1], size)
    assert remote_identity(remote, "a/broken.dcm") == (None, 8)
    assert remote_identity(remote, "a/text.txt") is None
    assert remote_identity(remote, "a/absent.dcm") == (None, 0)


@pytest.mark.parametrize("whole", [True, False])
def test_files_are_fetched_and_removed_again(remote, temporary, tmp_path, whole):
    paths = (Path("a/1.dcm"), Path("a/gone.dcm"))
    study = StudyFiles("7", (SeriesFiles("a", None, paths),))
    with local_files(remote, [study], whole=whole) as (local,):
        first, gone = local.series[0].paths
        assert first.read_bytes() == (tmp_path / "a" / "1.dcm").read_bytes()
        assert gone.read_bytes() == b""
    assert not first.exists()
    assert list(temporary.iterdir()) == []


def series_of(*paths):
    return StudyFiles("7", (SeriesFiles("a", None, tuple(map(Path, paths))),))


def test_what_cannot_be_had_counts_only_where_its_name_says_dicom(remote):
    assert remote_identity(remote, "a/absent.txt") is None
    assert remote_identity(remote, "a") is None


def test_all_files_of_a_folder_are_fetched(remote, tmp_path):
    with local_files(remote, [series_of("a/1.dcm", "a/2")], whole=True) as (local,):
        fetched = [path.read_bytes() for path in local.series[0].paths]
    assert fetched == [(tmp_path / "a" / name).read_bytes() for name in ("1.dcm", "2")]


def test_no_name_of_the_archive_stands_for_what_cannot_be_had(remote, tmp_path):
    (tmp_path / "empty.dcm").write_bytes(b"an image")
    with local_files(remote, [series_of("empty.dcm", "gone.dcm")], whole=True) as (local,):
        assert [path.read_bytes() for path in local.series[0].paths] == [b"an image", b""]


@pytest.mark.parametrize(("tag", "size"), [(b"", 1 << 18), (b"\x00\x52\x30\x92", 300_000)], ids=["classic", "enhanced"])
def test_headers_are_fetched_without_most_pixels_unless_they_may_be_long(remote, tmp_path, tag, size):
    (tmp_path / "a" / "long.dcm").write_bytes(tag.ljust(300_000, b"x"))
    with local_files(remote, [series_of("a/long.dcm")], whole=False) as (local,):
        assert local.series[0].paths[0].stat().st_size == size


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("kind", ["absolute", "upward"])
def test_a_key_that_leads_out_replaces_no_file_here(store, temporary, tmp_path, kind, whole):
    other = tmp_path / "other.dcm"
    other.write_bytes(b"of somebody else")
    path = other if kind == "absolute" else Path("..", "..", "..", "other.dcm")
    store.store[f"/data/{path.as_posix()}"] = MemoryFile(data=b"evil")
    with local_files(Folder.of("memory://data"), [series_of(path)], whole=whole) as (local,):
        assert local.series[0].paths[0].read_bytes() == b""
    assert other.read_bytes() == b"of somebody else"


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("kind", ["absolute", "upward"])
def test_a_path_that_leads_out_costs_its_file_and_touches_no_other(remote, tmp_path, whole, kind):
    other = tmp_path / "other.dcm"
    other.write_bytes(b"of somebody else")
    upward = Path("..", os.path.relpath(other, tempfile.gettempdir()))
    paths = (other if kind == "absolute" else upward, Path("a/1.dcm"))
    with local_files(remote, [StudyFiles("7", (SeriesFiles("a", None, paths),))], whole=whole) as (local,):
        refused, first = local.series[0].paths
        assert refused.read_bytes() == b""
        assert first.read_bytes() == (tmp_path / "a" / "1.dcm").read_bytes()
    assert other.read_bytes() == b"of somebody else"


def test_a_name_that_is_a_file_and_a_folder_in_a_store_costs_one_file(remote, tmp_path):
    paths = (Path("a/1.dcm"), Path("a/1.dcm/2.dcm"))
    with local_files(remote, [StudyFiles("7", (SeriesFiles("a", None, paths),))], whole=True) as (local,):
        first, second = local.series[0].paths
        assert first.read_bytes() == (tmp_path / "a" / "1.dcm").read_bytes()
        assert second.read_bytes() == b""


def test_files_on_disk_stay_where_they_are(tmp_path):
    study = StudyFiles("7", (SeriesFiles("a", None, (Path("a/1.dcm"),)),))
    with local_files(Folder.of(tmp_path), [study], whole=True) as (local,):
        assert local.series[0].paths == (tmp_path / "a" / "1.dcm",)
