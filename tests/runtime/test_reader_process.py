from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.processes import spawn_context
from lumbar_kernel.runtime import reader_process
from lumbar_kernel.runtime.reader_process import ReaderProcess, forked_readers, try_read_study
from lumbar_kernel.runtime.study_loader import StudyLoader
from lumbar_kernel.study import SeriesFiles, StudyFiles


class HungryPath(type(Path())):
    """A file that takes more memory than there is, as a decoder that believes a broken header would."""

    def stat(self, **options):
        return bytearray(1 << 40)


def test_a_file_that_takes_too_much_memory_is_refused_by_name(studies, tmp_path):
    paths = (*studies[0].series[0].paths, HungryPath(tmp_path / "big.dcm"))
    with StudyLoader([StudyFiles("0", (SeriesFiles("s", None, paths),))], workers=1, ahead=0) as reader:
        (result,) = reader
    assert len(result.study.series[0].slices) == 3
    assert result.study.problems == (f"{tmp_path.name}/big.dcm: the header cannot be read: MemoryError",)


def test_what_reading_raises_becomes_the_error(monkeypatch, studies):
    def fail(files):
        msg = "a header out of a dream"
        raise ValueError(msg)

    monkeypatch.setattr("lumbar_kernel.runtime.reader_process.read_study", fail)
    result = try_read_study(studies[0])
    assert (result.study, result.error) == (None, "ValueError: a header out of a dream")


def test_a_reader_ends_quietly_with_a_worker_that_leaves_an_answer_unread():
    reader = ReaderProcess()
    assert reader.pipe.poll(60)
    reader.pipe.close()
    reader.process.join(30)
    assert reader.process.exitcode == 0


def test_a_forked_reader_that_is_not_ready_in_time_is_not_used(monkeypatch):
    monkeypatch.setattr(reader_process, "START_SECONDS", 0.0)
    assert forked_readers(2, foreign=()) == []


def test_a_forked_reader_keeps_no_pipe_of_its_worker_open():
    receiver, sender = spawn_context().Pipe(duplex=False)
    readers = forked_readers(2, foreign=(sender,))
    sender.close()
    assert receiver.poll(10)
    with pytest.raises(EOFError):
        receiver.recv()
    for reader in readers:
        reader.pipe.close()
        reader.process.join(30)
        assert reader.process.exitcode == 0


class Leaving:
    """The pipe to a worker that ends while a study is read."""

    def __init__(self, task):
        self.task = task

    def recv(self):
        return self.task

    def send(self, answer):
        if answer is not None:
            raise BrokenPipeError(32, "Broken pipe")


def test_a_reader_limits_itself_and_leaves_no_memory_to_a_worker_that_has_ended(studies, monkeypatch):
    calls = MagicMock()
    for name in ("keep_freed_memory", "_limit_memory", "signal", "cv2"):
        monkeypatch.setattr(reader_process, name, getattr(calls, name))
    reader_process._serve(Leaving((studies[0], f"lumbar_{os.getpid()}_unsent")), ())
    calls._limit_memory.assert_called_once_with()
    calls.signal.signal.assert_called_once_with(calls.signal.SIGINT, calls.signal.SIG_IGN)  # its worker decides
    calls.cv2.setNumThreads.assert_called_once_with(1)


def test_a_pixel_that_is_no_number_refuses_the_study(studies, monkeypatch):
    def spoiled(files):
        study = read_study(files)
        (series,) = study.series
        slices = (replace(series.slices[0], pixels=np.full((2, 2), np.nan)), *series.slices[1:])
        return replace(study, series=(replace(series, slices=slices),))

    monkeypatch.setattr(reader_process, "read_study", spoiled)
    assert "NotFiniteError: 4 numbers" in try_read_study(studies[0]).error


def test_a_reader_may_not_take_all_memory(monkeypatch):
    limits = []
    monkeypatch.setattr("resource.setrlimit", lambda kind, limit: limits.append(limit[0]))
    reader_process._limit_memory()
    assert reader_process.MEMORY_LIMIT < limits[0] < reader_process.MEMORY_LIMIT + (1 << 42)
