import io
import logging
import sys

import pytest

from lumbar_kernel.runtime.messages import Progress
from lumbar_kernel.runtime.progress import LINE_EVERY_SECONDS, ProgressDisplay, spelled
from tests.conftest import FakeClock


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def report(display, phase, done, *, shard=0, studies=100, seconds_left=50.0):
    display.take(Progress(shard, phase, done, studies, seconds_left))


def test_without_a_terminal_there_is_a_line_a_pass_and_one_every_half_minute(lines):
    clock = FakeClock()
    with ProgressDisplay(shown=True, seconds_allowed=None, stream=io.StringIO(), clock=clock) as display:
        for done in range(100):
            report(display, "first pass", done)
            clock.now += LINE_EVERY_SECONDS / 40
        report(display, "axial_t2_lite", 0, seconds_left=200.0)
    assert lines() == [
        "first pass: 1 of 100 studies, about 50 s left",
        "first pass: 41 of 100 studies, about 50 s left",
        "first pass: 81 of 100 studies, about 50 s left",
        "axial_t2_lite: 0 of 100 studies, about 3 min left",
    ]


def test_workers_are_added_up_and_the_slowest_decides(lines):
    with ProgressDisplay(shown=True, seconds_allowed=28800, stream=io.StringIO()) as display:
        report(display, "first pass", 3, seconds_left=500)
        report(display, "canal_t2", 0, seconds_left=100)
        report(display, "first pass", 10, shard=1, seconds_left=7200)
        report(display, "canal_t2", 4, shard=1, seconds_left=100)
    assert lines()[-1] == "canal_t2: 4 of 200 studies, about 2 min left (8.0 h allowed)"
    assert "about 2.0 h left" in lines()[2]


def test_a_terminal_gets_a_bar_and_no_lines(lines):
    stream = Terminal()
    with ProgressDisplay(shown=True, seconds_allowed=None, stream=stream) as display:
        report(display, "first pass", 25)
    assert "first pass:  25% 25 of 100 studies" in stream.getvalue()
    assert "about 50 s left" in stream.getvalue()
    assert stream.getvalue().endswith("\n")  # so that what comes next does not stand behind the bar
    assert lines() == []


def test_no_time_is_promised_before_a_study_has_been_graded(lines):
    stream = Terminal()
    with ProgressDisplay(shown=True, seconds_allowed=None, stream=io.StringIO()) as display:
        report(display, "first pass", 0, studies=2)
        report(display, "first pass", 0, studies=2, shard=1)
        assert lines() == []
        report(display, "first pass", 2, studies=2)
    with ProgressDisplay(shown=True, seconds_allowed=None, stream=stream) as display:
        report(display, "first pass", 0)
    assert lines() == ["first pass: 2 of 4 studies, about 50 s left"]
    assert "0 of 100 studies" in stream.getvalue()
    assert "left" not in stream.getvalue()


def test_a_pass_after_the_first_is_measured_before_it_has_graded_a_study(lines):
    with ProgressDisplay(shown=True, seconds_allowed=None, stream=io.StringIO()) as display:
        report(display, "first pass", 0)
        report(display, "canal_t2", 0)
    assert lines() == ["canal_t2: 0 of 100 studies, about 50 s left"]


def test_nothing_is_shown_unless_wanted(lines):
    stream = Terminal()
    with ProgressDisplay(shown=False, seconds_allowed=None, stream=stream) as display:
        report(display, "first pass", 25)
    assert (stream.getvalue(), lines()) == ("", [])


def test_lines_take_the_place_of_a_bar_where_the_stream_is_closed(lines, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with ProgressDisplay(shown=True, seconds_allowed=None) as display:
        report(display, "first pass", 25)
    assert lines() == ["first pass: 25 of 100 studies, about 50 s left"]


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (600, "10 min"), (28800, "8.0 h")])
def test_durations_are_spelled_as_people_do(seconds, text):
    assert spelled(seconds) == text
