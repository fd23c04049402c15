"""Small studies on disk and runs without grading, shared by several modules of tests."""

from __future__ import annotations

import csv
import multiprocessing
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.robustness.dicom_files import write_stack
from lumbar_kernel.config import Config
from lumbar_kernel.models.manifest import read_manifest
from lumbar_kernel.results.report import StudyReport
from lumbar_kernel.runtime import member_grading, pipeline, supervisor
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.messages import Done, Shard
from lumbar_kernel.runtime.pipeline import grade_with
from lumbar_kernel.runtime.reader_process import ReadResult
from lumbar_kernel.runtime.recorder import Recorder
from lumbar_kernel.runtime.stages import StudyState
from lumbar_kernel.study import SeriesFiles, Study, StudyFiles
from tests.conftest import FakeClock

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


class FakeLoader:
    """Gives studies without reading them, once."""

    def __init__(self, studies):
        self.studies = tuple(studies)
        self.left = [ReadResult(files, SimpleNamespace(series=("one",)), None, 0.0) for files in studies]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        results, self.left = self.left, None
        return iter(results)


class Passes:
    """Grades four studies without pixels or networks, so that only the order of the work is left.

    Attributes:
        log: "prepare", "grade" and the messages, in order.
        prepared: study, stride and folder of pictures of each that was prepared.
        batches: the studies of each batch that was graded, "" for one that is blank.
        views: study → the views that it has crops for, all where it is not named.
        failures: of the part of the report that preparing makes.
        fault: called with the studies of a batch before it is graded.
    """

    def __init__(self, untrained, folder, monkeypatch):
        self.config = Config(data=folder, output=folder)
        self.studies = tuple(StudyFiles(str(number), ()) for number in range(4))
        self.clock, self.recorder = FakeClock(), Recorder()
        self.log, self.prepared, self.batches, self.states = [], [], [], []
        self.views, self.failures, self.fault = {}, (), lambda _: None
        manifest = read_manifest(untrained)
        self.models = SimpleNamespace(manifest=manifest, members={spec.name: () for spec in manifest.members})
        monkeypatch.setattr(pipeline, "prepare", self._prepare)
        monkeypatch.setattr(pipeline, "StudyLoader", SimpleNamespace(of=lambda _, studies: FakeLoader(studies)))
        monkeypatch.setattr(member_grading, "grade", self._grade)
        monkeypatch.setattr(member_grading, "require_graded", lambda *_: None)
        self.monkeypatch = monkeypatch

    def run(self, *, seconds=None, loader=None, **shard):
        """Grade the studies; the closing message."""
        budget, shard = Budget(seconds, reserve=0.0, clock=self.clock), Shard(0, self.studies, "cpu", **shard)
        options = {"recorder": self.recorder, "budget": budget, "emit": self.log.append, "loader": loader}
        return grade_with(self.models, self.config, shard, **options)

    def choose(self, name):
        """Let every first pass be the `full` or the `reduced` one."""
        self.monkeypatch.setattr(pipeline.Scheduler, "choose", lambda _, options, **__: getattr(options, name))

    def messages(self, kind):
        return [item for item in self.log if isinstance(item, kind)]

    def _prepare(self, result, *_, stride, pictures):
        study_id = result.files.study_id
        self.log.append("prepare")
        self.prepared.append((study_id, stride, pictures))
        views = self.views.get(study_id, ("sagittal_t1", "axial_t2", "sagittal_t2"))
        report = StudyReport(study_id, failures=self.failures)
        self.states.append(
            StudyState(report, dict.fromkeys(views, study_id), row_weights=np.ones(25), reduced=stride > 1)
        )
        return self.states[-1]

    def _grade(self, crops, _, *, view):
        self.log.append("grade")
        self.batches.append([item if isinstance(item, str) else "" for item in crops])
        self.fault(self.batches[-1])
        return np.full((len(crops), 25, 3), 1 / 3)


@pytest.fixture
def passes(untrained, tmp_path, monkeypatch):
    """A run of one worker over four studies, without pixels or networks."""
    return Passes(untrained, tmp_path, monkeypatch)


class FakeProcess:
    """What a pool sees of a process, without one; it ends when it is killed."""

    def __init__(self, pid=1 << 30, exitcode=-9):
        self.pid, self.exitcode, self.calls = pid, None, []
        self._exitcode = exitcode

    def join(self, timeout):
        self.calls.append("join")

    def terminate(self):
        self.calls.append("terminate")

    def kill(self):
        self.calls.append("kill")
        self.exitcode = self._exitcode


@pytest.fixture
def fake_process():
    """The class, for modules that processes import: they must not import this one."""
    return FakeProcess


def grades_of(path):
    with path.open(newline="") as file:
        return {
            row["row_id"]: [float(row[k]) for k in ("normal_mild", "moderate", "severe")]
            for row in csv.DictReader(file)
        }
