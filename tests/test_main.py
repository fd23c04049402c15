import csv
import json
import shutil

import pytest

from lumbar_kernel.__main__ import main
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_GRADED, EXIT_NOTHING, EXIT_USAGE


@pytest.mark.parametrize("command", [[], ["predict"], ["score"], ["phantom"], ["inspect"], ["report"]])
def test_help_teaches(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    assert "usage: lumbar-kernel" in capsys.readouterr().out


def test_predict_then_score_by_the_command_line(dataset, untrained, tmp_path, capsys):
    code = main(["predict", str(dataset), "--out", str(tmp_path), "--weights", str(untrained), "--workers", "0"])
    assert code in (EXIT_GRADED, EXIT_DEGRADED)
    assert str(tmp_path / "submission.csv") in capsys.readouterr().out
    assert json.loads((tmp_path / "report.json").read_text())["exit_code"] == code
    truth = str(dataset / "truth.csv")
    assert main(["score", str(tmp_path / "submission.csv"), truth, "--draws", "20"]) == EXIT_GRADED
    shown = capsys.readouterr().out
    assert "of 2 studies" in shown
    line = next(line.split() for line in shown.splitlines() if line.startswith("mean"))
    value, low, high = (float(word) for word in line if word[0].isdigit() and "." in word)
    assert 0 < low <= value <= high


def test_a_submission_that_the_platform_refuses_is_refused(dataset, tmp_path, capsys):
    lines = (dataset / "sample_submission.csv").read_text().splitlines()
    (tmp_path / "short.csv").write_text("\n".join(lines[:-1]))
    assert main(["score", str(tmp_path / "short.csv"), str(dataset / "truth.csv")]) == EXIT_NOTHING
    assert "Submission Scoring Error: the submission lacks 1 rows" in capsys.readouterr().err
    assert main(["score", str(dataset / "sample_submission.csv"), str(dataset / "sample_submission.csv")]) == 1
    assert "must have the columns study_id" in capsys.readouterr().err


def test_score_draws_its_reliability(dataset, tmp_path):
    sample, truth, plot = (str(dataset / "sample_submission.csv"), str(dataset / "truth.csv"), tmp_path / "r.png")
    assert main(["score", sample, truth, "--draws", "0", "--png", str(plot)]) == EXIT_GRADED
    assert plot.stat().st_size > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--study-seconds", "0"], "study_seconds must be"),
        (["--out", "/proc/impossible"], "cannot be written"),
        (["--device", "cuda:99"], "does not work"),
    ],
)
def test_an_impossible_wish_is_refused_before_grading(dataset, untrained, tmp_path, capsys, options, message):
    base = ["predict", str(dataset), "--out", str(tmp_path), "--weights", str(untrained), "--quiet"]
    assert main([*base, *options]) == EXIT_USAGE
    assert message in capsys.readouterr().err


def test_quiet_prints_nothing(dataset, untrained, tmp_path, capsys):
    options = ["--out", str(tmp_path), "--weights", str(untrained), "--seconds", "0.001", "--quiet"]
    assert main(["predict", str(dataset), *options]) == EXIT_DEGRADED
    assert capsys.readouterr() == ("", "")


def test_inspect_shows_series_and_refusals(dataset, tmp_path, capsys):
    data = shutil.copytree(dataset, tmp_path / "data")
    series = next(path for path in sorted((data / "test_images").glob("*/*")) if path.is_dir())
    (series / "note.dcm").write_text("not a DICOM file")
    assert main(["inspect", str(data)]) == EXIT_GRADED
    shown = capsys.readouterr().out
    assert shown.count("Sagittal T1:") == shown.count("Axial T2:") == 2
    assert [line for line in shown.splitlines() if "refused" in line and "note.dcm" in line]


def test_inspect_draws_what_it_shows(dataset, tmp_path, capsys):
    drawn = tmp_path / "inspected.png"
    assert main(["inspect", str(dataset), "--png", str(drawn)]) == EXIT_GRADED
    assert f"{drawn}: 2 of 2 studies" in capsys.readouterr().out
    assert drawn.stat().st_size > 100_000


def test_report_makes_the_page_of_a_run_again(dataset, tmp_path, capsys):
    out = tmp_path / "out"
    main(["predict", str(dataset), "--out", str(out), "--html", "--quiet"])
    page = out / "report.html"
    first = page.read_text(encoding="utf-8")
    assert len([*(out / "pictures").glob("*.jpg")]) == 2
    page.unlink()
    assert main(["report", str(out)]) == EXIT_GRADED
    assert capsys.readouterr().out.strip() == str(page)
    assert page.read_text(encoding="utf-8") == first


def test_phantom_writes_a_train_split(tmp_path):
    assert main(["phantom", str(tmp_path), "--studies", "1", "--split", "train", "--quiet"]) == EXIT_GRADED
    with (tmp_path / "train.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 1
    assert (tmp_path / "train_label_coordinates.csv").is_file()


def test_readers_who_disagree_change_the_tables_and_not_the_images(tmp_path):
    options = ["--studies", "1", "--seed", "3", "--quiet"]
    assert main(["phantom", str(tmp_path / "exact"), *options]) == EXIT_GRADED
    assert main(["phantom", str(tmp_path / "read"), *options, "--reader-noise", "1"]) == EXIT_GRADED
    files = sorted(path.relative_to(tmp_path / "exact") for path in (tmp_path / "exact").rglob("*") if path.is_file())
    changed = {str(p) for p in files if (tmp_path / "exact" / p).read_bytes() != (tmp_path / "read" / p).read_bytes()}
    assert "truth_label_coordinates.csv" in changed
    assert changed <= {"truth_label_coordinates.csv", "truth.csv"}


def test_phantom_draws_a_gallery_with_or_without_files(tmp_path, capsys):
    picture = tmp_path / "gallery.png"
    assert main(["phantom", "--studies", "1", "--gallery", str(picture)]) == EXIT_GRADED
    assert str(picture) in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["gallery.png"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "{empty}"],
        ["inspect", "{empty}"],
        ["report", "{empty}"],
        ["predict", "{empty}/absent"],
        ["phantom", "p", "--studies", "0"],
        ["phantom", "p", "--studies", "1", "--reader-noise", "-1"],
        ["phantom", "--studies", "1"],
    ],
)
def test_wrong_usage_is_reported_in_one_line(arguments, tmp_path, capsys):
    filled = [word.format(empty=tmp_path) for word in arguments]
    if filled[0] == "predict":
        filled += ["--out", str(tmp_path / "out")]
    assert main(filled) == EXIT_USAGE
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("lumbar-kernel: ")


def test_a_missing_file_to_score_is_reported_in_one_line(tmp_path, capsys):
    assert main(["score", str(tmp_path / "no.csv"), str(tmp_path / "none.csv")]) == EXIT_NOTHING
    assert "no.csv" in capsys.readouterr().err
