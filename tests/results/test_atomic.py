import os

import pytest

from lumbar_kernel.results.atomic import readable, write_atomic


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "submission.csv"
    path.write_text("old")

    def full_disk(descriptor):
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_atomic("new", path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced_completely_with_the_permissions_of_the_umask(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("a much longer old text")
    write_atomic("new", path)
    assert path.read_text() == "new"
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_text_is_readable_as_its_file_is(tmp_path):
    for text in ("st\udcffdy", "dü 椎間板", "\\udcff"):
        write_atomic(text, tmp_path / "text")
        assert readable(text) == (tmp_path / "text").read_text(encoding="utf-8")


def test_undecodable_names_are_written_as_escapes(tmp_path):
    write_atomic(os.fsdecode(b"st\xffdy"), tmp_path / "names.csv")
    assert (tmp_path / "names.csv").read_text() == "st\\udcffdy"
