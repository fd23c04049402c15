from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lumbar_kernel.config import Config
from lumbar_kernel.dicom.reader import read_study
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.runtime import reader_process, shared_memory, study_loader
from lumbar_kernel.runtime.reader_process import ReadResult
from lumbar_kernel.runtime.study_loader import StudyLoader
from lumbar_kernel.study import SeriesFiles, StudyFiles
from tests.real_data import unpack
from tests.runtime.conftest import same

PATIENCE = 60.0
"""Seconds that a busy machine may take to start a reader."""


class SilentPath(type(Path())):
    """A file that opens but never answers, as on a network disk that went away."""

    def stat(self, **options):
        os.open(self, os.O_RDONLY)
        time.sleep(10 * PATIENCE)


@pytest.fixture
def stuck(tmp_path):
    """Makes studies whose only file opens but never answers."""

    def make(name: str) -> StudyFiles:
        path = SilentPath(tmp_path / name)
        path.touch()
        return StudyFiles(name, (SeriesFiles("s", None, (path,)),))

    return make


def readers_of(study: StudyFiles) -> list[int]:
    """The reader processes that have the study's only file open."""
    (path,) = study.series[0].paths
    folders = [Path(f"/proc/{child.pid}/fd") for child in multiprocessing.active_children()]
    return [int(folder.parent.name) for folder in folders if any(_leads_to(link, path) for link in folder.iterdir())]


def _leads_to(link: Path, path: Path) -> bool:
    try:
        return link.readlink() == path
    except FileNotFoundError:
        return False


def wait_until(condition) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("ahead", [0, 2])
def test_every_study_comes_in_order_and_is_what_reading_gives(studies, workers, ahead):
    with StudyLoader(studies, workers=workers, ahead=ahead) as reader:
        results = list(reader)
    assert [result.files for result in results] == studies
    for result in results:
        assert (result.error, result.seconds > 0) == (None, True)
        assert same(result.study, read_study(result.files))
        assert all(s.pixels.dtype == np.float32 for series in result.study.series for s in series.slices)


def test_unreadable_files_are_a_study_with_problems_not_an_error(studies):
    with StudyLoader(studies[3:], workers=1, ahead=0) as reader:
        (result,) = reader
    assert result.study.series == ()
    assert "not a DICOM file" in result.study.problems[0]


def test_no_studies_need_no_workers():
    with StudyLoader([], workers=2, ahead=1) as reader:
        assert list(reader) == []


@pytest.mark.parametrize("options", [{"workers": -1}, {"ahead": -1}, {"timeout": 0}])
def test_impossible_numbers_are_refused(options):
    with pytest.raises(ConfigError, match="must be 0 or more"):
        StudyLoader([], **({"workers": 1, "ahead": 1} | options))


def test_a_reader_is_iterated_once(studies):
    with StudyLoader(studies, workers=1, ahead=0) as reader:
        list(reader)
        with pytest.raises(RuntimeError, match="once"):
            list(reader)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_reader_loses_its_study_and_the_rest_continue(studies, stuck, workers):
    victim = stuck("victim")
    with StudyLoader([studies[0], victim, *studies[1:3]], workers=workers, ahead=2) as reader:
        results = iter(reader)
        assert next(results).error is None
        wait_until(lambda: readers_of(victim))
        os.kill(readers_of(victim)[0], signal.SIGKILL)
        lost, *rest = results
    assert (lost.study, lost.error) == (None, "the reader process died (exit code -9)")
    assert [same(result.study, read_study(result.files)) for result in rest] == [True, True]


@pytest.mark.parametrize(
    ("error", "tries"),
    [(OSError(errno.ENOMEM, "no memory"), 1), (MemoryError(), 2), (OSError(errno.EIO, "broken"), 0)],
)
def test_a_study_that_found_no_memory_here_is_read_again_and_a_broken_one_is_not(studies, monkeypatch, error, tries):
    left = [error] * max(tries, 1)

    def scarce(*arguments):
        if left:
            raise left.pop()
        return shared_memory.unpack(*arguments)

    monkeypatch.setattr(study_loader, "MEMORY_PAUSES", (0.01, 0.01))
    monkeypatch.setattr(reader_process, "unpack", scarce)
    with StudyLoader(studies, workers=1, ahead=1, timeout=60) as reader:
        results = list(reader)
    assert [result.study is None for result in results] == [tries == 0, *(False for _ in studies[1:])]


def test_a_study_that_never_finds_memory_is_given_up(studies, monkeypatch):
    def none_left(*_):
        raise MemoryError

    monkeypatch.setattr(study_loader, "MEMORY_PAUSES", (0.01, 0.01))
    monkeypatch.setattr(reader_process, "unpack", none_left)
    with StudyLoader(studies[:1], workers=1, ahead=1, timeout=60) as reader:
        (result,) = reader
    assert result.study is None
    assert result.error == "MemoryError"


def test_a_study_past_its_time_is_given_up_and_the_rest_go_on(studies, stuck):
    with StudyLoader([studies[0], stuck("slow"), studies[1]], workers=1, ahead=1, timeout=2.0) as reader:
        results = list(reader)
    assert [result.study is None for result in results] == [False, True, False]
    assert "longer than 2 s" in results[1].error
    assert results[1].seconds >= 2


def test_no_more_than_ahead_studies_are_in_work(studies, stuck):
    queue = [stuck(f"stuck{i}") for i in range(3)]
    with StudyLoader([studies[0], *queue], workers=4, ahead=2) as reader:
        results = iter(reader)
        next(results)
        wait_until(lambda: readers_of(queue[0]) and readers_of(queue[1]))
        time.sleep(0.5)  # time enough for a third, were it let in
        assert readers_of(queue[2]) == []


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_leaving_early_stops_everything(studies, stuck, error):
    with (
        contextlib.suppress(KeyboardInterrupt),
        StudyLoader([*studies[:3], stuck("stuck")], workers=2, ahead=3) as reader,
    ):
        for result in reader:
            assert result.files == studies[0]
            if error is not None:
                raise error
            break
    assert multiprocessing.active_children() == []


@pytest.mark.real
def test_a_real_study_is_the_same_through_a_reader_process(tmp_path_factory):
    root = unpack("rsna_dicom", "study_4646740.zip", into=tmp_path_factory.mktemp("real"))
    folders = sorted((root / "train_images" / "4646740").iterdir())
    files = StudyFiles("4646740", tuple(SeriesFiles(f.name, None, tuple(sorted(f.iterdir()))) for f in folders))
    with StudyLoader([files], workers=1, ahead=0) as reader:
        (result,) = reader
    assert same(result.study, read_study(files))


def test_a_study_that_ends_its_thread_is_not_waited_for(studies, monkeypatch):
    real = study_loader.ReaderProcess.read

    def read(self, files, *, timeout):
        if files is studies[0]:
            raise RuntimeError("a bug")
        return real(self, files, timeout=timeout)

    monkeypatch.setattr(study_loader.ReaderProcess, "read", read)
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    with StudyLoader(studies, workers=2, ahead=2) as loader:
        results = list(loader)
    assert "the reader stopped" in results[0].error
    assert results[1].study is not None


@pytest.mark.parametrize("allowed", [0, 1])
def test_where_the_system_starts_no_more_threads_those_that_run_read_everything(studies, monkeypatch, allowed):
    real, left = threading.Thread.start, ["once"] * allowed

    def start(thread):
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    expected = contextlib.nullcontext() if allowed else pytest.raises(RuntimeError, match="can't start new thread")
    with expected, StudyLoader(studies, workers=2, ahead=2) as loader:
        assert [result.error for result in loader] == [None] * len(studies)


class SlowToCount(list):
    """Gives other threads time between a look at how many there are and what is done about it."""

    def __len__(self):
        count = super().__len__()
        time.sleep(0.2)
        return count


def test_an_idle_reader_is_taken_by_one_thread_alone(studies):
    idle = SlowToCount([study_loader.ReaderProcess()])
    idle[0].await_ready()
    with StudyLoader(studies, workers=2, ahead=2, spare=idle) as loader:
        assert [result.error for result in loader] == [None] * len(studies)
    for reader in idle:
        reader.stop()


@pytest.mark.parametrize(("number", "temporary"), [(errno.EMFILE, False), (errno.ENOMEM, True)])
def test_no_pipe_for_a_reader_is_a_lost_reader(monkeypatch, number, temporary):
    def refuse():
        raise OSError(number, "none left")

    monkeypatch.setattr(reader_process, "spawn_context", lambda: SimpleNamespace(Pipe=refuse))
    with pytest.raises(reader_process.ReaderLostError, match="none left") as caught:
        reader_process.ReaderProcess()
    assert caught.value.temporary == temporary


class Reader:
    """A reader without a process, which reads until it is stopped or killed."""

    def __init__(self):
        self.alive = True
        self.process = SimpleNamespace(is_alive=lambda: self.alive, kill=self.stop)

    def await_ready(self):
        pass

    def read(self, files, *, timeout):
        return ReadResult(files, None, None if self.alive else "dead", 0.0)

    def stop(self):
        self.alive = False


def test_an_idle_reader_is_kept_for_the_next_loader_which_replaces_a_dead_one(studies, monkeypatch):
    monkeypatch.setattr(study_loader, "ReaderProcess", Reader)
    spare, used = [], []
    for _ in range(3):
        with StudyLoader(studies[:1], workers=1, ahead=1, spare=spare) as loader:
            results = iter(loader)
            assert next(results).error is None
            wait_until(lambda: spare)
        used += spare
        if len(used) == 2:
            spare[0].stop()
    assert used[0] is used[1] is not used[2]


def test_a_loader_takes_number_and_limits_of_its_readers_from_the_options(tmp_path, monkeypatch):
    taken = {}
    monkeypatch.setattr(StudyLoader, "__init__", lambda _, __, **options: taken.update(options))
    StudyLoader.of(Config(data=tmp_path, output=tmp_path, workers=3, ahead=5, study_seconds=7.0), (), spare=None)
    assert taken == {"workers": 3, "ahead": 5, "timeout": 7.0, "spare": None}
