import json
import shutil

import pydicom
import pytest

from lumbar_kernel import Config, predict
from lumbar_kernel.__main__ import main
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_OK, EXIT_USAGE
from lumbar_kernel.structured_reports import write
from lumbar_kernel.structured_reports.findings import StudyFindings
from lumbar_kernel.structured_reports.write import NAMED_PROBLEMS, write_structured_reports
from lumbar_kernel.study import StudyFiles


@pytest.fixture
def own(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def test_each_study_gets_a_report_and_key_images_and_no_original_changes(own, dataset, capsys):
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    assert main(["sr", str(own), str(dataset)]) == EXIT_OK
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before
    lines = capsys.readouterr().out.splitlines()
    ids = [study["study_id"] for study in json.loads((own / "report.json").read_text())["studies"]]
    names = [f"{own}/structured_reports/{key}/{name}" for key in ids for name in ("report.dcm", "key_images.dcm")]
    assert lines == names
    kinds = [pydicom.dcmread(name).SOPClassUID.name for name in names[:2]]
    assert kinds == ["Comprehensive 3D SR Storage", "Key Object Selection Document Storage"]


@pytest.mark.parametrize("kind", ["gztar", "zip"])
def test_an_archive_that_was_graded_gets_its_reports(own, packed, tmp_path, monkeypatch, kind):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert main(["sr", str(own), str(packed[kind])]) == EXIT_OK
    assert len([*(own / "structured_reports").glob("*/report.dcm")]) == 2
    assert [*temporary.iterdir()] == []


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


@pytest.mark.parametrize(
    ("keyword", "value", "exit_code"), [("PatientBirthDate", "19600000", EXIT_OK), ("PatientName", "Doe\\Jane", 3)]
)
def test_an_unusual_header_costs_no_other_study_its_report(own, dataset, tmp_path, capsys, keyword, value, exit_code):
    data = shutil.copytree(dataset, tmp_path / "data")
    first, second = sorted(path.name for path in (data / "test_images").iterdir())
    for path in (data / "test_images" / first).glob("*/*.dcm"):
        header = pydicom.dcmread(path)
        with pydicom.config.disable_value_validation():
            setattr(header, keyword, value)
            header.save_as(path)
    assert main(["sr", str(own), str(data)]) == exit_code
    said = capsys.readouterr().out
    left_out = [f"study {first}: its headers make no valid report"] if exit_code == EXIT_DEGRADED else []
    assert [line.split(" (")[0] for line in said.splitlines() if line.startswith("study")] == left_out
    folders = {path.name for path in (own / "structured_reports").iterdir()}
    assert folders == ({second} if left_out else {first, second})


def test_series_that_headers_do_not_tell_apart_are_all_referred_to(undivided, light, tmp_path, capsys):
    predict(Config(data=undivided, output=tmp_path / "run", weights=light, progress=False, workers=0))
    assert main(["sr", str(tmp_path / "run"), str(undivided)]) == EXIT_OK
    report = pydicom.dcmread(capsys.readouterr().out.splitlines()[0])
    (evidence,) = report.CurrentRequestedProcedureEvidenceSequence
    referred = [item for series in evidence.ReferencedSeriesSequence for item in series.ReferencedSOPSequence]
    assert len(referred) == len(list(undivided.rglob("*.dcm")))


def test_reports_never_lie_among_the_originals(run, tmp_path):
    data = tmp_path / "data"
    inside = shutil.copytree(run, data / "out")
    (tmp_path / "link").symlink_to(inside)
    for folder in (inside, tmp_path / "link"):
        with pytest.raises(ConfigError, match="never written among the originals"):
            write_structured_reports(folder, data)


def test_without_highdicom_the_command_names_the_extra(own, dataset, monkeypatch, capsys):
    monkeypatch.setattr("lumbar_kernel.dependencies.find_spec", lambda name: None if name == "highdicom" else object())
    assert main(["sr", str(own), str(dataset)]) == EXIT_USAGE
    assert "lumbar-kernel[dicom]" in capsys.readouterr().err


@pytest.fixture
def one_study(monkeypatch):
    """Lets a run have the findings of a study whose series cannot be referred to; the splits that are looked into."""
    splits, problems = [], [f"{number}.dcm: SOPInstanceUID missing" for number in range(NAMED_PROBLEMS + 2)]
    findings = StudyFindings("7", "1", "sha", {}, ("a finding",))
    monkeypatch.setattr(write, "read_findings", lambda _: (findings,))
    monkeypatch.setattr(write, "find_studies", lambda _, *, split: splits.append(split) or [StudyFiles("7", ())])
    monkeypatch.setattr(write, "read_sources", lambda *_: ([], problems))
    return splits


def test_a_study_without_any_series_to_refer_to_is_named_with_some_of_the_reasons(one_study, tmp_path, caplog, capsys):
    words = ["sr", str(tmp_path / "run"), str(tmp_path / "data"), "--split", "train"]
    assert main(words) == EXIT_DEGRADED
    assert capsys.readouterr().out == "study 7: none of the series used can be referred to\n"
    assert len([record for record in caplog.records if "missing" in record.message]) == NAMED_PROBLEMS
    assert one_study == ["train"]


def test_data_without_any_study_of_the_run_is_refused(one_study, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "find_studies", lambda *_, **__: [StudyFiles("8", ())])
    with pytest.raises(ConfigError, match="another folder or split"):
        write_structured_reports(tmp_path / "run", tmp_path / "data")
