"""Studies inside archives are read in place, and read as they would be from a folder."""

from __future__ import annotations

import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.robustness.dicom_files import AXIAL, read_headers, write_slice, write_stack
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.packed_files import Archive, ArchiveError, archive_of, read_beginning, shown_name
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.errors import ConfigError, DicomError
from lumbar_kernel.study import StudyFiles
from tests.dicom.conftest import LATERAL, UPWARD, shape


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two studies of two series without a table."""
    root = tmp_path_factory.mktemp("plain") / "export"
    for study in ("8", "70"):
        uids = {"StudyInstanceUID": f"1.{study}", "PatientID": study}
        write_stack(root / study / "1", LATERAL, SeriesDescription="T2", SeriesInstanceUID=f"1.{study}.1", **uids)
        write_stack(
            root / study / "2",
            UPWARD,
            orientation=AXIAL,
            SeriesDescription="T2",
            SeriesInstanceUID=f"1.{study}.2",
            **uids,
        )
    return root


def packed(folder, target, kind):
    """The folder as an archive of a kind, its name inside it."""
    if kind == "zip, stored":
        with zipfile.ZipFile(target, "w") as archive:
            for path in sorted(folder.rglob("*.dcm")):
                archive.write(path, path.relative_to(folder.parent))
        return target
    written = shutil.make_archive(str(target), "zip" if "zip" in kind else "tar", folder.parent, folder.name)
    return Path(shutil.move(written, target))


def pixels(studies):
    return {
        (study.study_id, series.role, tuple(item.plane.origin)): item.pixels.tobytes()
        for study in studies
        for series in study.series
        for item in series.slices
    }


@pytest.mark.parametrize("kind", ["zip", "zip, stored", "tar"])
def test_an_archive_is_read_as_its_folder_is_without_unpacking(folder, tmp_path, kind):
    target = packed(folder, tmp_path / "studies", kind)
    found, plain = find_studies(target), find_studies(folder)
    assert shape(found) == shape(plain) == {"8": {"1": 5, "2": 3}, "70": {"1": 5, "2": 3}}
    assert [study.folder for study in found] == ["export/8", "export/70"]
    travelled: tuple[StudyFiles, ...] = pickle.loads(pickle.dumps(found))
    assert pixels(map(read_study, travelled)) == pixels(map(read_study, plain))
    assert len(pixels(map(read_study, found))) == 16
    assert [path.name for path in tmp_path.iterdir()] == ["studies"]


@pytest.mark.parametrize("top", ["", "deep/er"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_competition_layout_inside_an_archive_keeps_its_tables(competition, tmp_path, kind, top):
    target = tmp_path / f"rsna.{kind}"
    files = [path for path in sorted(competition.rglob("*")) if path.is_file()]
    names = [f"{top}/{path.relative_to(competition)}".lstrip("/") for path in files]
    if kind == "zip":
        with zipfile.ZipFile(target, "w") as archive:
            for path, name in zip(files, names, strict=True):
                archive.write(path, name)
    else:
        with tarfile.open(target, "w") as archive:
            for path, name in zip(files, names, strict=True):
                archive.add(path, name)
    found = find_studies(target)
    assert shape(found) == {"9": {"2": 5, "3": 3}, "10": {"2": 5}, "11": {}}
    assert [series.role for study in found for series in study.series] == ["Sagittal T2/STIR", None, "Sagittal T2/STIR"]


def test_messages_name_archive_and_member(tmp_path):
    target = tmp_path / "studies.zip"
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("4/1/1.dcm", b"no image")
    path = target / "4" / "1" / "1.dcm"
    assert shown_name(path) == "studies.zip/4/1/1.dcm"
    with pytest.raises(DicomError, match=r"^studies\.zip/4/1/1\.dcm: not a DICOM file"):
        read_headers(path)
    with pytest.raises(DicomError, match=r"studies\.zip/4/1/2\.dcm: .*no such file"):
        read_headers(path.with_name("2.dcm"))
    assert shown_name(tmp_path / "plain" / "1.dcm") == "plain/1.dcm"


def encrypted(target):
    """Turn on the flag of encryption in all headers of a zip."""
    content = bytearray(target.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := content.find(signature, start)) >= 0:
            content[start + place] |= 1
            start += 4
    target.write_bytes(content)


def test_encrypted_members_are_refused_by_name_and_the_others_read(tmp_path, caplog):
    plain, secret = write_slice(tmp_path / "1.dcm"), tmp_path / "secret.zip"
    with zipfile.ZipFile(secret, "w") as archive:
        archive.write(plain, "7/1/1.dcm")
    encrypted(secret)
    with pytest.raises(DicomError, match=r"secret\.zip/7/1/1\.dcm: .*encrypted; unpack"):
        read_headers(secret / "7" / "1" / "1.dcm")
    assert find_studies(secret) == ()
    assert "secret.zip: 1 files are encrypted and cannot be read, such as 7/1/1.dcm" in caplog.text


def test_decompression_bombs_are_refused_by_name(tmp_path):
    target = tmp_path / "bombs.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.dcm", bytes(128) + b"DICM" + bytes(1 << 25))
        archive.writestr("a/2.dcm", bytes(128) + b"DICM" + bytes((1 << 28) + 1))
    for number in (1, 2):
        with pytest.raises(DicomError, match=rf"bombs\.zip/a/{number}\.dcm: .*unpack to"):
            read_headers(target / "a" / f"{number}.dcm")


def test_a_small_file_may_pack_well_and_one_of_a_name_that_comes_twice_is_the_last(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", b"first")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("x", bytes(1 << 20))
    assert Archive(tmp_path / "a.zip").files("") == ["x"]
    assert read_beginning(tmp_path / "a.zip" / "x", most=9) == (bytes(9), 1 << 20)


def test_a_damaged_member_costs_itself_alone(tmp_path):
    target = tmp_path / "damaged.zip"
    noise = np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint16)
    members = {name: write_slice(tmp_path / "x.dcm", noise).read_bytes() for name in ("1.dcm", "2.dcm", "\xe43.dcm")}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_LZMA) as archive:
        for name, raw in members.items():
            archive.writestr(f"7/1/{name}", raw)
        places = {info.filename: info.header_offset for info in archive.infolist()}
    content = bytearray(target.read_bytes())
    content[places["7/1/2.dcm"] + 300] ^= 0xFF  # inside the packed bytes
    content[places["7/1/\xe43.dcm"] + 34] = 0xFF  # inside the name
    target.write_bytes(content)
    (study,) = find_studies(target)
    assert [len(series.paths) for series in study.series] == [3]
    assert len(read_headers(target / "7" / "1" / "1.dcm")) == 1
    for name in ("2.dcm", "\xe43.dcm"):
        with pytest.raises(DicomError, match="cannot be unpacked"):
            read_headers(target / "7" / "1" / name)


def test_names_that_lead_out_are_left_out_and_named(tmp_path):
    slices = write_slice(tmp_path / "1.dcm").read_bytes()
    target = tmp_path / "odd.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for name in ("../up.dcm", "/4/1/1.dcm", "./4/1/2.dcm", "4\\1\\3.dcm", "a/" * 5000 + "deep.dcm", "__MACOSX/4/1"):
            archive.writestr(name, slices)
    index = Archive(target)
    assert "2 files have names that lead out" in index.problems[0]
    assert shape(find_studies(target)) == {"4": {"1": 3}}


def test_links_in_a_tar_are_named_and_hard_ones_are_copies(tmp_path, folder):
    target = tmp_path / "links.tar"
    path = next(folder.rglob("*.dcm"))
    with tarfile.open(target, "w") as archive:
        archive.add(path, "7/1/1.dcm")
        for kind, name in ((tarfile.LNKTYPE, "hard"), (tarfile.SYMTYPE, "soft"), (tarfile.FIFOTYPE, "pipe")):
            info = tarfile.TarInfo(f"7/1/{name}.dcm")
            info.type, info.linkname = kind, "7/1/1.dcm"
            archive.addfile(info)
    index = Archive(target)
    assert index.files("7/1") == ["1.dcm", "hard.dcm"]
    assert "2 files are links or devices" in index.problems[0]
    assert read_beginning(target / "7/1/hard.dcm", most=1 << 20) == (path.read_bytes(), path.stat().st_size)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_broken_archive_is_refused_or_read_as_far_as_it_goes(folder, tmp_path, kind):
    content = packed(folder, tmp_path / "whole", kind).read_bytes()
    broken = tmp_path / "broken"
    broken.write_bytes(content[: len(content) // 2])
    if kind == "zip":
        with pytest.raises(ConfigError, match="broken cannot be read"):
            find_studies(broken)
    else:
        files = [path for study in find_studies(broken) for series in study.series for path in series.paths]
        assert 0 < len(files) < 16
    broken.write_bytes(content[:2])
    with pytest.raises(ConfigError, match="broken"):
        find_studies(broken)


def test_an_archive_that_changes_is_indexed_anew(tmp_path):
    target = tmp_path / "a.zip"
    for number in (1, 2):
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr("x", b"1" * number)
        assert read_beginning(target / "x", most=10)[0] == b"1" * number


def test_paths_on_disk_lead_into_no_archive(tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    assert archive_of(tmp_path / "absent") is None
    assert archive_of(tmp_path / "notes.txt" / "inner") is None
    with pytest.raises(ArchiveError, match="no such file"):
        read_beginning(tmp_path / "notes.txt" / "inner", most=1)


def test_archives_inside_a_folder_are_named(folder, tmp_path, caplog):
    shutil.copytree(folder, tmp_path / "data")
    packed(folder, tmp_path / "data" / "8" / "more.zip", "zip")
    assert shape(find_studies(tmp_path / "data")) == shape(find_studies(folder))
    assert "archives inside the data folder are not read: 8/more.zip" in caplog.text


def test_members_of_a_deflated_zip_may_have_any_size(tmp_path):
    content = np.random.default_rng(1).integers(0, 255, 1 << 21, dtype=np.uint8).tobytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", content)
    assert read_beginning(tmp_path / "a.zip" / "x", most=1 << 30) == (content, len(content))
    assert read_beginning(tmp_path / "a.zip" / "x", most=1000) == (content[:1000], len(content))
