import math
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumbar_kernel.runtime.budget import SAFETY, Budget, Estimate, process_started
from tests.conftest import FakeClock


def test_without_a_limit_everything_fits():
    budget = Budget(None, reserve=30, clock=FakeClock())
    assert budget.remaining() == budget.margin() == math.inf
    assert budget.fits(1e9)
    assert not budget.expired()


def test_the_reserve_is_kept_from_the_steps_and_shown_in_the_margin():
    clock = FakeClock()
    budget = Budget(100, reserve=5, clock=clock)
    clock.now += 60
    assert (budget.elapsed(), budget.remaining(), budget.margin()) == (60, 35, 40)
    clock.now += 35
    assert budget.expired()
    assert budget.margin() == 5


def test_a_step_needs_a_tenth_to_spare():
    budget = Budget(110, reserve=0, clock=FakeClock())
    assert budget.fits(99.9)
    assert not budget.fits(100.1)


@pytest.mark.parametrize(("seconds", "reserve"), [(0, 0), (3, 3), (3, 10)])
def test_nothing_fits_in_a_budget_without_time_for_steps(seconds, reserve):
    budget = Budget(seconds, reserve=reserve, clock=FakeClock())
    assert budget.expired()
    assert not budget.fits(0)
    assert budget.remaining() == 0


def test_time_before_the_budget_was_made_counts_from_the_given_start():
    budget = Budget(100, reserve=0, clock=FakeClock(50.0), started=20.0)
    assert budget.remaining() == 70


def test_after_the_end_the_margin_is_negative():
    clock = FakeClock()
    budget = Budget(10, reserve=1, clock=clock)
    clock.now += 12
    assert (budget.margin(), budget.remaining()) == (-2, 0)


def test_another_process_gets_what_is_left_with_the_reserve_and_never_less_than_nothing():
    clock = FakeClock()
    budget = Budget(10, reserve=3, clock=clock)
    clock.now += 4
    assert budget.handed_on() == 6
    clock.now += 8
    assert budget.handed_on() == 0
    assert Budget(None, reserve=3).handed_on() is None


@given(st.floats(0, 100), st.lists(st.floats(0.01, 10), min_size=1, max_size=50))
def test_no_overrun_while_steps_take_what_was_expected(seconds, steps):
    clock = FakeClock(0.0)
    budget = Budget(seconds, reserve=1, clock=clock)
    for step in steps:
        if budget.fits(step):
            clock.now += step * SAFETY
    assert clock.now <= max(0, seconds - 1) + 1e-6


@pytest.mark.parametrize(("seconds", "reserve"), [(-1, 0), (1, -1), (math.nan, 0)])
def test_negative_times_are_refused(seconds, reserve):
    with pytest.raises(ValueError, match="must not be negative"):
        Budget(seconds, reserve=reserve)


def test_an_estimate_starts_from_its_prior_and_ends_at_the_measurements():
    estimate = Estimate(10.0)
    assert estimate.seconds() == 10
    estimate.add(2.0)
    assert estimate.seconds() == 6
    for _ in range(1000):
        estimate.add(8.0, units=4)
    assert estimate.seconds() == pytest.approx(2, abs=0.01)


@given(st.lists(st.floats(0, 100), min_size=1))
def test_an_estimate_stays_within_what_it_saw(measured):
    estimate = Estimate(5.0)
    for seconds in measured:
        estimate.add(seconds)
    seen = [5.0, *measured]
    assert min(seen) - 1e-9 <= estimate.seconds() <= max(seen) + 1e-9


@pytest.mark.parametrize(("seconds", "units"), [(-1, 1), (math.inf, 1), (1, 0)])
def test_measurements_that_cannot_be_are_refused(seconds, units):
    with pytest.raises(ValueError, match="finite seconds"):
        Estimate(1.0).add(seconds, units=units)


def test_the_start_of_a_process_lies_before_its_first_line():
    code = (
        "import time; first = time.monotonic(); from lumbar_kernel.runtime.budget import process_started; "
        "print(first - process_started())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 <= float(done.stdout) < 10
    assert process_started() <= time.monotonic()


@pytest.mark.parametrize("name", ["time.CLOCK_BOOTTIME", "os.sysconf"])
def test_where_the_system_does_not_tell_the_start_of_a_process_it_is_now(name, monkeypatch):
    monkeypatch.delattr(name)
    before = time.monotonic()
    assert before <= process_started() <= time.monotonic()


OLD_PROCESS = """
import time
from lumbar_kernel.runtime import budget
budget.LONGEST_START = 0.9
assert budget.process_started() == budget.IMPORTED  # the shell slept before it became this interpreter
time.sleep(1)
before = time.monotonic()
assert before <= budget.process_started() <= time.monotonic()  # this interpreter did something else before
"""


def test_a_process_that_waited_before_its_task_loses_none_of_its_time():
    shell = ["sh", "-c", 'sleep 1; exec "$0" -c "$1"', sys.executable, OLD_PROCESS]
    subprocess.run(shell, check=True)
