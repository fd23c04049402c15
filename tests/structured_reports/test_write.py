import json
import shutil

import pydicom
import pytest

from lumbar_kernel.__main__ import main
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_GRADED, EXIT_USAGE
from lumbar_kernel.structured_reports.write import write_structured_reports


@pytest.fixture
def own(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def test_each_study_gets_a_report_and_key_images_and_no_original_changes(own, dataset, capsys):
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    assert main(["sr", str(own), str(dataset)]) == EXIT_GRADED
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before
    lines = capsys.readouterr().out.splitlines()
    ids = [study["study_id"] for study in json.loads((own / "report.json").read_text())["studies"]]
    names = [f"{own}/structured_reports/{key}/{name}" for key in ids for name in ("report.dcm", "key_images.dcm")]
    assert lines == names
    kinds = [pydicom.dcmread(name).SOPClassUID.name for name in names[:2]]
    assert kinds == ["Comprehensive 3D SR Storage", "Key Object Selection Document Storage"]


def test_studies_without_grades_or_files_are_named(own, dataset, tmp_path, capsys):
    entry = json.loads((own / "report.json").read_text())
    first, second = (study["study_id"] for study in entry["studies"])
    data = shutil.copytree(dataset, tmp_path / "data")
    shutil.rmtree(data / "test_images" / second)
    table = (own / "grades.csv").read_text().splitlines()
    (own / "grades.csv").write_text("\n".join(line for line in table if not line.startswith(first)) + "\n")
    assert main(["sr", str(own), str(data)]) == EXIT_DEGRADED
    said = capsys.readouterr().out
    assert f"study {first}: no member graded it" in said
    assert f"study {second}: " in said


def test_reports_never_lie_among_the_originals(run, tmp_path):
    data = tmp_path / "data"
    inside = shutil.copytree(run, data / "out")
    with pytest.raises(ConfigError, match="never written among the originals"):
        write_structured_reports(inside, data)


def test_without_highdicom_the_command_names_the_extra(own, dataset, monkeypatch, capsys):
    monkeypatch.setattr("lumbar_kernel.dependencies.find_spec", lambda name: None if name == "highdicom" else object())
    assert main(["sr", str(own), str(dataset)]) == EXIT_USAGE
    assert "lumbar-kernel[dicom]" in capsys.readouterr().err
