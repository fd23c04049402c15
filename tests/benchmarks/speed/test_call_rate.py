import time

from benchmarks.speed.call_rate import calls_a_second


def test_calls_are_counted_after_one_to_warm_up():
    calls = []
    rate = calls_a_second(lambda: calls.append(time.sleep(0.01)), seconds=0.1)
    assert 2 <= len(calls) <= 12
    assert 0 < rate <= 100
