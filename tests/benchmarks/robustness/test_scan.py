from __future__ import annotations

import pytest

from benchmarks.robustness.scan import growth, main, scan_seconds, write_archive
from lumbar_kernel.dicom.discovery import find_studies
from lumbar_kernel.dicom.identity import careful_identity, quick_identity


def test_the_archive_is_one_of_a_hospital_and_its_files_are_ordinary(tmp_path):
    assert write_archive(tmp_path, files=400) == 3
    studies = find_studies(tmp_path)
    assert [len(study.series) for study in studies] == [6, 6, 1]
    assert {len(series.paths) for study in studies for series in study.series} == {30}
    assert len({study.study_uid for study in studies}) == 3
    path = studies[1].series[2].paths[3]
    assert quick_identity(path.read_bytes()) == careful_identity(path) is not None
    first, last, found = scan_seconds(tmp_path)
    assert 0 < first < last
    assert found == 3


@pytest.mark.slow
def test_the_run_tells_when_each_submission_stood(tmp_path, capsys, monkeypatch):
    write_archive(tmp_path / "data", files=60)
    states = growth(tmp_path / "data", tmp_path, 3.0)
    assert states[0].startswith("25 rows after ")
    assert states[-1].startswith("ended after ")
    monkeypatch.setattr("benchmarks.robustness.scan.growth", lambda *_: ["none"])
    monkeypatch.setattr("sys.argv", ["scan", "--files", "600"])
    main()
    assert "600 files, 4 studies: listed with 4 studies" in capsys.readouterr().out
