from __future__ import annotations

import io
import tarfile
import zipfile

import pytest

from benchmarks.robustness.dicom_files import write_slice
from lumbar_kernel.containers import (
    COMPRESSED_TAR,
    DICOMDIR,
    TAR,
    ZIP,
    container_kind,
    looks_like_archive,
    without_suffix,
)


@pytest.mark.parametrize(
    ("mode", "kind"), [("w", TAR), ("w:gz", COMPRESSED_TAR), ("w:bz2", COMPRESSED_TAR), ("w:xz", COMPRESSED_TAR)]
)
def test_tars_are_known_by_their_first_bytes_whatever_their_name(tmp_path, mode, kind):
    with tarfile.open(tmp_path / "studies", mode) as archive:
        archive.addfile(tarfile.TarInfo("a"), io.BytesIO())
    assert container_kind(tmp_path / "studies") == kind


@pytest.mark.parametrize("names", [(), ("a",)])
def test_zips_are_known_empty_or_not(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "studies", "w") as archive:
        for name in names:
            archive.writestr(name, "")
    assert container_kind(tmp_path / "studies") == ZIP


def test_an_index_is_told_from_an_image_and_from_anything_else(tmp_path):
    image = write_slice(tmp_path / "1.dcm")
    assert container_kind(image) is None
    index = tmp_path / "DICOMDIR"
    index.write_bytes(b"\0" * 128 + b"DICM" + b"\x02\x00\x02\x00UI\x14\x001.2.840.10008.1.3.10")
    assert container_kind(index) == DICOMDIR
    (tmp_path / "notes.zip").write_text("no archive")
    for other in (tmp_path, tmp_path / "absent", tmp_path / "notes.zip", tmp_path / "notes.zip" / "inner"):
        assert container_kind(other) is None


def test_archives_are_known_by_name_too():
    assert [name for name in ("a.ZIP", "b.tar.gz", "c.dcm", "d.nii.gz", "zip") if looks_like_archive(name)] == [
        "a.ZIP",
        "b.tar.gz",
    ]
    assert [without_suffix(name) for name in ("a.tar.gz", "b.Zip", "c.dcm", ".zip")] == ["a", "b", "c.dcm", ".zip"]
