import json
import shutil

import pytest

from lumbar_kernel.__main__ import main
from lumbar_kernel.results.report import EXIT_OK, EXIT_USAGE


def test_inspect_shows_series_and_refusals(dataset, tmp_path, capsys):
    data = shutil.copytree(dataset, tmp_path / "data")
    series = next(path for path in sorted((data / "test_images").glob("*/*")) if path.is_dir())
    (series / "note.dcm").write_text("not a DICOM file")
    assert main(["inspect", str(data)]) == EXIT_OK
    shown = capsys.readouterr().out
    assert shown.count("Sagittal T1:") == shown.count("Axial T2:") == 2
    assert [line for line in shown.splitlines() if "refused" in line and "note.dcm" in line]


def test_inspect_draws_what_it_shows(dataset, tmp_path, capsys):
    drawn = tmp_path / "inspected.png"
    assert main(["inspect", str(dataset), "--png", str(drawn)]) == EXIT_OK
    assert f"{drawn}: 2 of 2 studies" in capsys.readouterr().out
    assert drawn.stat().st_size > 100_000


def test_the_name_of_the_picture_does_not_disturb_the_json(dataset, tmp_path, capsys):
    drawn = tmp_path / "inspected.jpg"
    assert main(["inspect", str(dataset), "--json", "--png", str(drawn)]) == EXIT_OK
    said = capsys.readouterr()
    assert len([json.loads(line) for line in said.out.splitlines()]) == 2
    assert f"{drawn}: 2 of 2 studies" in said.err


@pytest.mark.parametrize("command", ["inspect", "score", "phantom"])
def test_a_picture_in_another_format_is_refused_before_any_work(command, tmp_path, capsys):
    words = {
        "inspect": [str(tmp_path), "--png"],
        "score": ["submission.csv", "truth.csv", "--png"],
        "phantom": ["--studies", "1", "--gallery"],
    }
    with pytest.raises(SystemExit, match=str(EXIT_USAGE)):
        main([command, *words[command], str(tmp_path / "sheet.gif")])
    said = capsys.readouterr()
    assert said.out == ""
    assert "must end in .png or .jpg, unlike 'sheet.gif'" in said.err
    assert [*tmp_path.iterdir()] == []


def test_inspect_follows_the_roles_that_are_given_and_the_split_as_a_run_does(dataset, capsys):
    study = min((dataset / "test_images").iterdir())
    role = f"{study.name}/{min(study.iterdir()).name}=none"
    assert main(["inspect", str(dataset), "--json", "--series", role]) == EXIT_OK
    studies = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    used = {item["study_id"]: sum(bool(series["role"]) for series in item["series"]) for item in studies}
    assert sorted(used.values()) == [2, 3]
    assert used[study.name] == 2
    assert main(["inspect", str(dataset), "--split", "train"]) == EXIT_USAGE


@pytest.mark.parametrize("words", [[], ["--pixels"]])
def test_inspect_decodes_pixels_only_where_that_is_asked_for(dataset, monkeypatch, words):
    taken = []
    monkeypatch.setattr(
        "lumbar_kernel.dicom.inspection.inspect_studies", lambda _, *, pixels, workers: taken.append(pixels) or ()
    )
    assert main(["inspect", str(dataset), *words]) == EXIT_OK
    assert taken == [bool(words)]
