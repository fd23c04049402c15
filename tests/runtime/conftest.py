"""Small studies on disk and runs without grading, shared by several modules of tests."""

from __future__ import annotations

import csv
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.robustness.dicom_files import write_stack
from lumbar_kernel.runtime import supervisor
from lumbar_kernel.runtime.messages import Done
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.study import SeriesFiles, Study, StudyFiles

LATERAL = [(float(x), 0.0, 0.0) for x in (-4, 0, 4)]


@pytest.fixture
def studies(tmp_path):
    """Four small studies, the last one with files that cannot be read."""
    made = []
    for number in range(3):
        paths = write_stack(tmp_path / str(number), LATERAL, SeriesDescription="T1", RescaleSlope=number + 1)
        made.append(StudyFiles(str(number), (SeriesFiles("s", None, tuple(paths)),)))
    (tmp_path / "bad.dcm").write_text("no image")
    return [*made, StudyFiles("3", (SeriesFiles("s", None, (tmp_path / "bad.dcm",)),))]


def same(one: Study, other: Study) -> bool:
    slices = [[item for series in study.series for item in series.slices] for study in (one, other)]
    return (one.study_id, one.problems, [series.role for series in one.series]) == (
        other.study_id,
        other.problems,
        [series.role for series in other.series],
    ) and all(
        np.array_equal(a.pixels, b.pixels) and a.plane.origin.tolist() == b.plane.origin.tolist()
        for a, b in zip(*slices, strict=True)
    )


@pytest.fixture(autouse=True)
def _nothing_is_left_behind():
    """No test may leave a reader or a block of shared memory."""
    yield
    assert multiprocessing.active_children() == []
    assert list(Path("/dev/shm").glob(f"lumbar_{os.getpid()}_*")) == []


@pytest.fixture
def archive(tmp_path):
    """Nine studies without a table."""
    for study in range(9):
        uids = {"StudyInstanceUID": f"1.{study}", "SeriesInstanceUID": f"1.{study}.1"}
        write_stack(tmp_path / "data" / f"s{study}", [(float(x), 0.0, 0.0) for x in range(40)], **uids)
    return tmp_path / "data"


@pytest.fixture
def ungraded(monkeypatch):
    """Lets one process grade nothing at once; the messages that close its shards, and how often it was asked to."""
    ends, asked = [], []

    def grade_shard(*_):
        asked.append(1)
        return ends.pop() if ends else Done(Recorder())

    monkeypatch.setattr(supervisor, "grade_shard", grade_shard)
    return ends, asked


def grades_of(path):
    with path.open(newline="") as file:
        return {
            row["row_id"]: [float(row[k]) for k in ("normal_mild", "moderate", "severe")]
            for row in csv.DictReader(file)
        }
