from __future__ import annotations

from pathlib import Path

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
