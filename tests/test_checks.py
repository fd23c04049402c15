from dataclasses import dataclass, replace

import numpy as np
import pytest

from lumbar_kernel.checks import float_arrays, require_finite
from lumbar_kernel.errors import NotFiniteError


@dataclass
class Holder:
    name: str
    values: np.ndarray
    more: tuple = ()


def test_floats_are_found_wherever_they_lie():
    ones = [np.ones(k) for k in range(1, 5)]
    value = {"a": Holder("x", ones[0], (ones[1], [ones[2]])), "b": ones[3], "c": np.arange(3), "d": 1.5, "e": None}
    assert [array.size for array in float_arrays(value)] == [1, 2, 3, 4, 1]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused_however_deep(wrong):
    holder = Holder("x", np.ones(3), (np.array([1.0, wrong], np.float32),))
    with pytest.raises(NotFiniteError, match="1 numbers of the tuple"):
        require_finite((Holder("y", np.ones(2)), holder))


def test_a_spacing_that_is_not_finite_is_refused(phantom):
    plane = replace(phantom.study.series[0].slices[0].plane, row_spacing=float("nan"))
    with pytest.raises(NotFiniteError, match="1 numbers of the SlicePlane"):
        require_finite(plane)


def test_finite_values_and_values_without_numbers_pass():
    require_finite(Holder("x", np.zeros((2, 2))))
    require_finite(None)
    require_finite("text")
