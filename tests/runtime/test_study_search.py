import dataclasses
import itertools
import math
import shutil
from contextlib import contextmanager

import pytest

from lumbar_kernel import Config, predict
from lumbar_kernel.results.report import EXIT_DEGRADED
from lumbar_kernel.runtime import study_search
from lumbar_kernel.runtime.budget import Budget
from lumbar_kernel.schema import AXIAL_T2
from tests.conftest import FakeClock
from tests.runtime.conftest import grades_of


def _ticking(step):
    """A clock that advances by a step whenever it is read."""
    ticks = itertools.count()
    return lambda: step * next(ticks)


def test_the_first_submission_grows_with_the_search(archive, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(study_search, "write_submission", lambda grades, path: written.append(len(grades)))
    config = Config(data=archive, output=tmp_path / "out", progress=False, seconds=0, workers=0)
    predict(config, clock=_ticking(0.1))
    assert written == sorted(written)
    assert written[0] < written[-1] == 9
    assert (tmp_path / "out" / "studies.csv").read_text().splitlines()[1] == "s0,1.0,s0"


def test_a_search_that_takes_too_long_is_cut_short_and_what_it_left_is_named(archive, tmp_path):
    config = Config(data=archive, output=tmp_path / "out", progress=False, seconds=10, workers=0)
    report = predict(config, clock=_ticking(0.25))
    assert 0 < len(report.studies) <= 9
    assert report.exit_code == EXIT_DEGRADED
    (failure,) = [item for item in report.failures if item.stage == "find studies"]
    assert failure.type == "TimeUp"
    assert "not searched to the end: s" in failure.message


def test_a_resumed_run_keeps_grades_while_its_first_submission_grows(archive, tmp_path):
    config = Config(data=archive, output=tmp_path / "out", progress=False, seconds=0, workers=0)
    predict(config)
    text = config.submission_path.read_text()
    line = next(line for line in text.splitlines() if line.startswith("s8_"))
    changed = f"{line.split(',')[0]},0.2,0.3,0.5"
    config.submission_path.write_text(text.replace(line, changed))
    config.journal_of(0).touch()  # as an interrupted run leaves it
    predict(dataclasses.replace(config, resume=True), clock=_ticking(0.1))
    assert grades_of(config.submission_path)[line.split(",")[0]] == [0.2, 0.3, 0.5]


def test_all_studies_that_were_unpacked_are_found_however_long_that_took(archive, tmp_path, monkeypatch, ungraded):
    clock = FakeClock()

    @contextmanager
    def slow(data, *, stop):
        while not stop():
            clock.now += 1
        yield data, "files were left out"

    monkeypatch.setattr(study_search, "unpacked", slow)
    config = Config(data=archive, output=tmp_path / "out", progress=False, seconds=100, workers=0)
    report = predict(config, clock=clock)
    assert len(report.studies) == 9
    assert [item.type for item in report.failures] == ["LeftOut"]


@pytest.mark.parametrize(("seconds", "until"), [(None, math.inf), (0, math.inf), (100, 20 + (100 - 5 - 20) / 2)])
def test_half_of_the_time_left_is_for_the_search_and_all_of_it_where_nothing_will_be_graded(tmp_path, seconds, until):
    clock = FakeClock()
    config = Config(data=tmp_path, output=tmp_path, seconds=seconds)
    budget = Budget(seconds, reserve=config.reserve, clock=clock)
    clock.now += 20
    assert study_search._end_of_search(config, budget) == until


def test_the_first_submission_is_written_at_every_doubling_of_the_time_alone(archive, tmp_path, monkeypatch):
    times, clock = [], _ticking(0.1)
    monkeypatch.setattr(study_search, "_write_first", lambda *_: times.append(clock()))
    config = Config(data=archive, output=tmp_path / "out")
    with study_search.found_studies(config, Budget(None, reserve=0, clock=clock)):
        assert all(later > 1.5 * earlier for earlier, later in itertools.pairwise(times[:-1]))
        assert len(times) > 2


def test_roles_that_are_given_are_taken_and_what_is_not_read_is_named(studies, tmp_path):
    shutil.make_archive(str(tmp_path / "0" / "more"), "zip", tmp_path / "1")
    config, budget = Config(data=tmp_path / "0", output=tmp_path / "out"), Budget(None, reserve=0)
    with study_search.found_studies(config, budget) as ((files,), state):
        (series,) = files.series
        assert any("more.zip" in note for note in state.notes)
    given = dataclasses.replace(config, series=(f"{series.series_id}=axial",))
    with study_search.found_studies(given, budget) as ((files,), _):
        assert [item.role for item in files.series] == [AXIAL_T2]


def test_a_table_of_studies_that_cannot_be_written_costs_no_study(studies, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(study_search, "write_study_table", fail)
    config = Config(data=tmp_path / "0", output=tmp_path / "out")
    with study_search.found_studies(config, Budget(None, reserve=0)) as (found, state):
        assert len(found) == 1
        assert [failure.stage for failure in state.failures] == ["write studies.csv"]
