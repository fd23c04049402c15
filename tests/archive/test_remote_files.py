import os
import tempfile
from pathlib import Path

import pytest

from benchmarks.robustness.dicom_files import write_slice
from lumbar_kernel.archive.remote_files import local_files, remote_identity
from lumbar_kernel.archive.storage import Folder
from lumbar_kernel.dicom.identity import read_identity
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
        assert remote_identity(remote, name) == (read_identity(tmp_path / name), size)
    assert remote_identity(remote, "a/broken.dcm") == (None, 8)
    assert remote_identity(remote, "a/text.txt") is None
    assert remote_identity(remote, "a/absent.dcm") == (None, 0)


@pytest.mark.parametrize("whole", [True, False])
def test_files_are_fetched_and_removed_again(remote, tmp_path, whole):
    paths = (Path("a/1.dcm"), Path("a/gone.dcm"))
    study = StudyFiles("7", (SeriesFiles("a", None, paths),))
    with local_files(remote, [study], whole=whole) as (local,):
        first, gone = local.series[0].paths
        assert first.read_bytes() == (tmp_path / "a" / "1.dcm").read_bytes()
        assert gone.read_bytes() == b""
    assert not first.exists()


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
