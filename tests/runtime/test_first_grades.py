from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.config import Config
from lumbar_kernel.dicom.tables import sample_studies
from lumbar_kernel.results.submission import write_submission
from lumbar_kernel.runtime import first_grades as module
from lumbar_kernel.runtime.first_grades import (
    EARLIER,
    earlier_members,
    first_grades,
    first_report,
    previous_grades,
    submission_order,
)
from lumbar_kernel.schema import prior


def test_rows_follow_the_sample_submission(dataset):
    lines = (dataset / "sample_submission.csv").read_text().splitlines()
    ids = list(dict.fromkeys(line.split("_")[0] for line in lines[1:]))
    studies = [type("Files", (), {"study_id": key}) for key in (*sorted(ids, reverse=True), "999")]
    assert submission_order(["absent", *sample_studies(dataset)], studies) == [*ids, "999"]


def test_a_resumed_run_begins_with_the_grades_that_are_complete(tmp_path):
    third = np.full((25, 3), 1 / 3)
    config = Config(data=tmp_path, output=tmp_path, resume=True)
    assert previous_grades(config) == {}
    write_submission({"7": third, "8": third}, config.submission_path)
    assert len(previous_grades(config)) == 50  # of a run that finished: no grade is taken back
    assert previous_grades(replace(config, resume=False)) == {}
    lines = config.submission_path.read_text().splitlines(keepends=True)
    config.submission_path.write_text("".join(lines[:-1]))
    grades = first_grades(["7", "8", "9"], previous_grades(config))
    assert grades["7"] == pytest.approx(third, abs=1e-5)
    assert np.array_equal(grades["8"], prior())
    assert np.array_equal(grades["9"], prior())


def test_rows_of_the_interrupted_run_are_told_from_the_prior_once_written_and_read(tmp_path):
    config = Config(data=tmp_path, output=tmp_path, resume=True)
    mixed = prior()
    mixed[3] = 1 / 3
    write_submission({"7": mixed, "8": prior()}, config.submission_path)
    grades = first_grades(["7", "8", "9"], previous_grades(config))
    members = {key: earlier_members(values) for key, values in grades.items()}
    assert members == {"7": ((),) * 3 + ((EARLIER,),) + ((),) * 21, "8": ((),) * 25, "9": ((),) * 25}
    assert [first_report(key, members[key]).graded_rows for key in grades] == [1, 0, 0]
    assert [bool(first_report(key, members[key]).missing) for key in grades] == [True, False, False]


def test_a_file_that_is_no_submission_is_not_reused(tmp_path, caplog):
    config = Config(data=tmp_path, output=tmp_path, resume=True)
    config.submission_path.write_text("no table")
    assert previous_grades(config) == {}
    assert "cannot be reused" in caplog.text


def test_a_file_that_cannot_be_read_is_not_reused(tmp_path, monkeypatch, caplog):
    def fail(_):
        raise OSError(5, "Input/output error")

    config = Config(data=tmp_path, output=tmp_path, resume=True)
    config.submission_path.touch()
    monkeypatch.setattr(module, "load_submission", fail)
    assert previous_grades(config) == {}
    assert "cannot be reused" in caplog.text


def test_rows_that_are_no_probabilities_are_not_reused(tmp_path, caplog):
    config = Config(data=tmp_path, output=tmp_path, resume=True)
    write_submission({"7": prior()}, config.submission_path)
    head, first, *rest = config.submission_path.read_text().splitlines()
    config.submission_path.write_text("\n".join([head, first.split(",")[0] + ",0.5,0.3,0.3", *rest]))
    assert previous_grades(config) == {}
    assert "do not sum to one" in caplog.text
