import pytest

from benchmarks.phantom.each import each


@pytest.mark.parametrize("workers", [1, 2])
def test_results_stand_in_the_order_of_their_inputs(workers):
    assert each(abs, range(-9, 0), workers=workers, unit="number") == list(range(9, 0, -1))
