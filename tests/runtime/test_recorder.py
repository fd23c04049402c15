import logging

import pytest

from lumbar_kernel.results.report import (
    Failure,
)
from lumbar_kernel.runtime.recorder import Recorder


def test_the_guard_keeps_a_failure_to_its_study_and_logs_the_traceback(caplog):
    recorder = Recorder()
    with caplog.at_level(logging.ERROR), recorder.guard("7", "grade"):
        raise RuntimeError("no memory")
    assert recorder.failures("7") == (Failure("grade", "RuntimeError", "no memory"),)
    assert recorder.failures("8") == recorder.failures(None) == ()
    assert "Traceback" in caplog.text
    assert "study 7 failed in grade" in caplog.text


def test_a_quiet_stage_leaves_no_failure():
    recorder = Recorder()
    with recorder.guard("7", "grade"):
        pass
    assert recorder.failures("7") == ()


def test_strict_records_and_lets_the_exception_through():
    recorder = Recorder(strict=True)
    with pytest.raises(ZeroDivisionError), recorder.guard(None, "grade"):
        raise ZeroDivisionError("nothing there")
    assert recorder.failures(None) == (Failure("grade", "ZeroDivisionError", "nothing there"),)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_pass_through_the_guard(error):
    recorder = Recorder()
    with pytest.raises(error), recorder.guard("7", "grade"):
        raise error
    assert recorder.failures("7") == ()


def test_seconds_add_up_per_stage_also_when_a_stage_raises():
    ticks = iter([0.0, 2.0, 10.0, 13.0, 20.0, 21.0])
    recorder = Recorder(clock=lambda: next(ticks))
    with recorder.timed("read"):
        pass
    with recorder.guard("7", "grade"), recorder.timed("grade"):
        raise ValueError("odd")
    with recorder.timed("read"):
        pass
    assert recorder.stages == {"read": 3.0, "grade": 3.0}
    assert len(recorder.failures("7")) == 1
