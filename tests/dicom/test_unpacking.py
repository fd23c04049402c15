from __future__ import annotations

import io
import shutil
import tarfile
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.robustness.dicom_files import write_stack
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.dicom.unpacking import unpacked
from lumbar_kernel.errors import ConfigError
from tests.dicom.conftest import LATERAL, shape


@pytest.fixture(params=["gz", "bz2", "xz"])
def archive(request, tmp_path):
    """A compressed tar of one study."""
    write_stack(tmp_path / "made" / "8" / "1", LATERAL, SeriesDescription="T2")
    write_stack(tmp_path / "made" / "8" / "2", LATERAL, SeriesDescription="T1", SeriesInstanceUID="1.9")
    target = tmp_path / f"studies.tar.{request.param}"
    with tarfile.open(target, f"w:{request.param}") as file:
        file.add(tmp_path / "made", "")
    return target


def test_a_compressed_tar_is_unpacked_said_so_and_removed_again(archive, caplog):
    caplog.set_level("INFO")
    with unpacked(archive) as (folder, left_out):
        assert left_out is None
        studies = find_studies(folder)
        assert shape(studies) == {"8": {"1": 5, "2": 5}}
        assert len(read_study(studies[0]).series) == 2
    assert not folder.exists()
    assert not folder.parent.exists()
    assert f"{archive.name} is compressed as a whole and cannot be read in place" in caplog.text
    with pytest.raises(ConfigError, match="must be unpacked first"):
        find_studies(archive)


def test_everything_else_is_given_back_as_it_is(tmp_path):
    with unpacked(tmp_path) as (folder, left_out):
        assert (folder, left_out) == (tmp_path, None)
    assert tmp_path.is_dir()


def test_when_the_time_is_up_the_rest_is_named(archive):
    files = iter([False, False, True])
    with unpacked(archive, stop=lambda: next(files)) as (folder, left_out):
        assert len([path for path in folder.rglob("*") if path.is_file()]) == 3
    assert "the time was up while studies.tar" in left_out


def test_a_tar_that_breaks_off_gives_what_it_has(tmp_path):
    noise = np.random.default_rng(0)
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as file:
        for number in range(8):
            info = tarfile.TarInfo(f"{number}.dcm")
            info.size = 1 << 17
            file.addfile(info, io.BytesIO(noise.bytes(info.size)))
    content = (tmp_path / "x.tgz").read_bytes()
    (tmp_path / "x.tgz").write_bytes(content[: len(content) // 2])
    with unpacked(tmp_path / "x.tgz") as (folder, left_out):
        assert 3 <= len(list(folder.iterdir())) <= 5
    assert "x.tgz breaks off" in left_out


def test_what_is_compressed_but_no_tar_is_refused(archive):
    archive.write_bytes(archive.read_bytes()[:6] + b"nonsense")
    with pytest.raises(ConfigError, match="cannot be read as a compressed tar"), unpacked(archive):
        pass


def test_links_and_names_that_lead_out_are_left_out_and_named(tmp_path):
    target = tmp_path / "odd.tgz"
    with tarfile.open(target, "w:gz") as file:
        for name in ("../out.dcm", "in.dcm", "/abs.dcm"):
            info = tarfile.TarInfo(name)
            info.size = 3
            file.addfile(info, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    with unpacked(target) as (folder, left_out):
        assert sorted(path.name for path in folder.iterdir()) == ["abs.dcm", "in.dcm"]
    assert "2 links, devices or huge files, such as ../out.dcm" in left_out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd.tgz"]


def test_a_disk_keeps_a_tenth_of_its_room(archive, monkeypatch):
    with tarfile.open(archive) as file:
        size = sum(member.size for member in file)
    for room, refused in ((1.05, pytest.raises(ConfigError, match="the disk has no room")), (1.2, nullcontext())):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, room=room: SimpleNamespace(free=room * size))
        with refused, unpacked(archive):
            pass


def test_a_decompression_bomb_is_refused(tmp_path):
    target = tmp_path / "bomb.tgz"
    with tarfile.open(target, "w:gz", compresslevel=9) as file:
        for number in range(3):
            info = tarfile.TarInfo(f"{number}.dcm")
            info.size = 1 << 27
            file.addfile(info, _Zeros())
    with pytest.raises(ConfigError, match="like a decompression bomb"), unpacked(target):
        pass


class _Zeros(io.RawIOBase):
    """An endless file of zeros."""

    def read(self, size=-1):
        return bytes(size)
