import builtins
import shutil

import pytest

from lumbar_kernel.__main__ import main


def test_index_grade_and_status_from_the_command_line(graded, capsys):
    options = graded.options
    words = [options.data, "--out", options.out.text, "--weights", str(options.weights), "--quiet"]
    assert main(["archive", "index", *words]) == 0
    assert main(["archive", *words, "--submission"]) == 3  # some studies are broken
    assert main(["archive", "status", "--out", options.out.text]) == 0
    said = capsys.readouterr().out
    assert said.count("7 of 7 studies done") == 2
    assert "not a DICOM file" in said
    submission = graded.out / "submission.csv"
    assert len(submission.read_text().splitlines()) == 1 + 7 * 25
    submission.unlink()


def test_studies_that_left_the_archive_do_not_count_after_a_rescan(graded, tmp_path, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(graded.options.data, data, symlinks=True, ignore=shutil.ignore_patterns(*graded.broken))
    shutil.copytree(graded.out, out)
    for table in data.glob("*.csv"):
        kept = [line for line in table.read_text().splitlines() if not line.startswith(tuple(graded.broken))]
        table.write_text("\n".join(kept))
    words = ["--out", str(out), "--weights", str(graded.options.weights), "--quiet"]
    assert main(["archive", str(data), *words, "--rescan", "--submission"]) == 0
    assert "2 of 2 studies done" in capsys.readouterr().out
    assert len((out / "submission.csv").read_text().splitlines()) == 1 + 2 * 25


@pytest.mark.parametrize("words", [["index"], ["status", "more"], ["one", "two"]])
def test_words_that_make_no_sense_are_refused(words, tmp_path, capsys):
    assert main(["archive", *words, "--out", str(tmp_path)]) == 2
    assert "usage" in capsys.readouterr().err


def test_the_command_line_needs_none_of_them(monkeypatch, capsys):
    real = builtins.__import__

    def without(name, *arguments, **more):
        assert name.partition(".")[0] not in ("ray", "pyarrow", "fsspec"), name
        return real(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SystemExit):
        main(["archive", "--help"])
    assert "s3://bucket/folder" in capsys.readouterr().out
