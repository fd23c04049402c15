from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel import Config
from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results import page, pictures
from lumbar_kernel.results.report import EXIT_DEGRADED, EXIT_OK, Report
from lumbar_kernel.results.tables import write_study_table
from lumbar_kernel.runtime import outputs
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.runtime.run_state import RunState
from lumbar_kernel.study import StudyFiles
from tests.conftest import FakeClock


def state_of(studies, **members):
    """A run of so many studies, of which members graded some."""
    grades = {str(number): np.full((25, 3), 1 / 3) for number in range(studies)}
    return RunState(grades, {}, row_members=members)


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """A folder with pictures of three of four studies, and the names of those that get grades, four seconds each."""
    names, clock = [], FakeClock()
    (tmp_path / "pictures").mkdir()
    for name in ("0", "2", "3"):
        (tmp_path / "pictures" / f"{name}.jpg").touch()

    def add_grades(path, probabilities, graded):
        names.append((path.stem, int(graded.sum())))
        clock.now += 4

    monkeypatch.setattr(pictures, "add_grades", add_grades)
    return Config(data=tmp_path, output=tmp_path, seconds=100, html=True), names, clock


def test_grades_are_drawn_into_the_pictures_that_exist(drawn):
    config, names, clock = drawn
    budget = Budget(100, reserve=config.reserve, clock=clock)
    state = state_of(4, **{"2": (("canal_t2",),) * 25})
    outputs.grade_pictures(config, state, budget)
    assert state.notes == []
    assert names == [("0", 0), ("2", 25), ("3", 0)]


def test_pictures_of_a_run_that_is_resumed_without_drawing_any_get_its_grades(drawn):
    config, names, clock = drawn
    resumed = replace(config, html=False, resume=True)
    assert resumed.pictures_to_draw == 0
    outputs.grade_pictures(resumed, state_of(4), Budget(100, reserve=config.reserve, clock=clock))
    assert [name for name, _ in names] == ["0", "2", "3"]


def test_pictures_end_before_the_time_of_the_other_files(drawn):
    config, names, clock = drawn
    budget = Budget(100, reserve=config.reserve, clock=clock)
    clock.now += 94
    state = state_of(4)
    outputs.grade_pictures(config, state, budget)
    assert "no time" in state.notes[0]
    assert [name for name, _ in names] == ["0", "2"]


def test_files_of_an_earlier_run_are_removed_and_no_others(drawn):
    config, *_ = drawn
    own = ("report.json", "report.html", "grades.csv", "landmarks.csv", "journal.jsonl", "journal_12.jsonl")
    others = ("journal_of_mine.jsonl", "notes.txt", "submission.csv", "pictures/me.jpg", "pictures/3.png")
    (config.output / "studies.csv").write_text("study_id,study_instance_uid,folder\n3,,\n../notes.txt,,\n")
    for name in (*own, *others):
        (config.output / name).write_text("")
    state = state_of(3)
    outputs.remove_earlier_run(config, state)
    assert state.notes == []
    kept = {path.relative_to(config.output).as_posix() for path in config.output.rglob("*") if path.is_file()}
    assert kept == {*others, "studies.csv"}
    (config.output / "structured_reports").mkdir()
    outputs.remove_earlier_run(config, state)
    assert "structured_reports/ is of an earlier run" in state.notes[0]


def test_pictures_of_an_earlier_run_are_removed_whatever_the_names_of_its_studies(drawn):
    config, *_ = drawn
    ids = ("a+1", "M\udcfcller", "dü")
    write_study_table([StudyFiles(name, ()) for name in ids], config.output)
    for name in ids:
        pictures.picture_path(config.pictures_path, name).touch()
    outputs.remove_earlier_run(config, state_of(4))
    assert [*config.pictures_path.iterdir()] == []


@pytest.mark.parametrize("table", [None, b"\xff\x00", b"id\n3\n", b"", b"study_id\n" + b"3" * 200_000])
def test_without_its_table_only_pictures_of_the_same_studies_are_known_to_be_of_an_earlier_run(drawn, table):
    config, *_ = drawn
    if table is not None:
        (config.output / "studies.csv").write_bytes(table)
    outputs.remove_earlier_run(config, state_of(3))
    assert [path.name for path in config.pictures_path.iterdir()] == ["3.jpg"]


@pytest.mark.parametrize(("html", "gone", "written"), [(True, 0, 1), (False, 0, 0), (True, 99.95, 0)])
def test_a_page_is_written_where_it_is_wished_and_fits(tmp_path, monkeypatch, html, gone, written):
    calls, clock = [], FakeClock()
    monkeypatch.setattr(page, "write_page", calls.append)
    budget = Budget(100, reserve=5, clock=clock)
    clock.now += gone
    outputs.write_page(Config(data=tmp_path, output=tmp_path, seconds=100, html=html), 4, budget)
    assert calls == [tmp_path] * written


@pytest.mark.parametrize(("resume", "left"), [(False, True), (True, False)])
def test_the_page_of_a_run_that_is_resumed_without_one_is_removed(tmp_path, resume, left):
    config = Config(data=tmp_path, output=tmp_path, resume=resume)
    config.page_path.touch()
    outputs.write_page(config, 4, Budget(100, reserve=5))
    assert config.page_path.exists() == left


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ConfigError("no report.json"), UnicodeError("a fault of ours")]
)
def test_what_cannot_be_written_becomes_a_failure(error):
    def fail():
        raise error

    (failure,) = outputs.try_to_write("report.html", fail)
    assert (failure.stage, failure.type) == ("write report.html", type(error).__name__)
    report = Report(version="1", weights_sha256="", device="cpu", studies=(), seconds=1.0, exit_code=EXIT_OK)
    assert outputs.with_failures(report, (failure,)).exit_code == EXIT_DEGRADED
    assert outputs.with_failures(report, outputs.try_to_write("report.html", dict)) is report
