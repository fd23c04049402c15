from pathlib import Path

import numpy as np
import pytest

from benchmarks.whole_runs import command, largest_difference


def test_the_command_line_is_of_any_interpreter():
    line = command(Path("data"), Path("out"), "--device", "cpu", python="python3.12")
    assert line == [
        "python3.12",
        "-m",
        "lumbar_kernel",
        "predict",
        "data",
        "--out",
        "out",
        "--quiet",
        "--device",
        "cpu",
    ]


def test_the_largest_difference_is_that_of_one_probability_and_no_row_may_be_missing():
    grades = {"a": np.array([0.5, 0.3, 0.2]), "b": np.array([1.0, 0.0, 0.0])}
    others = {"a": np.array([0.5, 0.3, 0.2]), "b": np.array([0.9, 0.1, 0.0])}
    assert largest_difference(grades, others) == pytest.approx(0.1)
    with pytest.raises(KeyError, match="b"):
        largest_difference(grades, {"a": others["a"]})
