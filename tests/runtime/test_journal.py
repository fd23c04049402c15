from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.results.report import Failure, LevelReport, SeriesReport, StudyReport
from lumbar_kernel.runtime import journal as module
from lumbar_kernel.runtime.journal import Journal, run_key
from lumbar_kernel.study import StudyFiles

POINT = [1.0, 2.0, 3.0]
REPORT = StudyReport(
    study_id="7",
    series=(SeriesReport("1", "Axial T2", 30),),
    missing=("no Sagittal T1 series",),
    failures=(Failure("crop", "ValueError", "odd"),),
    confidence=0.5,
    landmarks={"l1_l2": LevelReport(POINT, {"left": POINT, "right": POINT}, None, None, None, 0.5, [0.5, 0.5], None)},
)


def grades(seed=0):
    found = np.random.default_rng(seed).dirichlet((1, 1, 1), 25)
    found[3] = np.nan
    return found


@pytest.fixture
def written(tmp_path):
    with Journal(tmp_path / "journal.jsonl", key="a", resume=False) as journal:
        journal.add_study(REPORT, np.linspace(0, 1, 25), ["axial_t2"])
        journal.add_grades("7", "one", grades())
    return tmp_path / "journal.jsonl"


def test_what_was_recorded_comes_back_to_the_last_bit(written):
    with Journal(written, key="a", resume=True) as again:
        report, weights, views = again.study("7")
        assert (report, views) == (REPORT, ("axial_t2",))
        assert np.array_equal(weights, np.linspace(0, 1, 25))
        assert np.array_equal(again.grades("7", "one"), grades(), equal_nan=True)
        assert again.grades("7", "two") is None
        assert again.study("8") is None


def test_a_record_is_on_disk_as_soon_as_it_is_added(tmp_path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, key="a", resume=True) as journal:
        for records in (2, 3):
            journal.add_grades("7", "one", grades())
            assert path.read_bytes().count(b"\n") == records


def test_what_follows_a_damaged_record_does_not_come_back(written):
    first, *others = written.read_bytes().splitlines(keepends=True)
    written.write_bytes(first + b"damaged\n" + b"".join(others))
    with Journal(written, key="a", resume=True):
        assert written.read_bytes() == first


@pytest.mark.parametrize("torn", range(1, 60, 7))
def test_a_torn_last_record_is_left_out_and_written_over(written, torn):
    whole = written.read_bytes()
    written.write_bytes(whole[:-torn])
    with Journal(written, key="a", resume=True) as again:
        assert again.study("7") is not None
        assert again.grades("7", "one") is None
        again.add_grades("7", "one", grades())
    assert written.read_bytes() == whole


def test_a_changed_record_ends_the_journal_there(written):
    raw = bytearray(written.read_bytes())
    raw[raw.index(b"row_weights") + 20] ^= 1
    written.write_bytes(raw)
    with Journal(written, key="a", resume=True) as again:
        assert again.study("7") is None
        assert again.grades("7", "one") is None


@pytest.mark.parametrize(("key", "resume"), [("b", True), ("a", False)])
def test_a_journal_of_another_run_is_begun_anew(written, key, resume):
    with Journal(written, key=key, resume=resume) as again:
        assert again.study("7") is None
    assert written.stat().st_size < 100


@pytest.mark.parametrize("path", ["{tmp}/absent/journal.jsonl", "/dev/full"])
def test_a_file_that_cannot_be_written_costs_the_journal_only(path, tmp_path, caplog):
    with Journal(Path(path.format(tmp=tmp_path)), key="a", resume=False) as journal:
        journal.add_study(REPORT, np.zeros(25), [])
        journal.add_grades("7", "one", grades())
    assert "cannot be written" in caplog.text


def test_the_key_follows_weights_files_and_version(dataset, monkeypatch):
    studies = find_studies(dataset)
    fewer_files = [replace(studies[0], series=studies[0].series[:1]), *studies[1:]]
    assert run_key(studies, weights_sha256="x") == run_key(studies, weights_sha256="x")
    keys = [run_key(found, weights_sha256="x") for found in (studies, studies[:1], fewer_files)]
    keys.append(run_key(studies, weights_sha256="y"))
    monkeypatch.setattr(module, "__version__", "0.0.0")
    keys.append(run_key(studies, weights_sha256="x"))
    assert len(set(keys)) == len(keys)


def test_names_that_are_no_text_have_a_key_too():
    names = ("M\udcfcller", "M\udcfdller", "Muller")
    assert len({run_key([StudyFiles(name, ())], weights_sha256="x") for name in names}) == len(names)
