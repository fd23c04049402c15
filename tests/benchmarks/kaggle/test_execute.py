import nbformat
import pytest

from benchmarks.kaggle import execute


def test_parameters_go_behind_the_tagged_cell(notebook):
    changed = execute.with_parameters(notebook, {"HOURS": 0.5, "DEVICE": "cpu"})
    assert changed.cells[2].source == "HOURS = 0.5\nDEVICE = 'cpu'"
    names = {line.split(" = ")[0] for line in changed.cells[1].source.splitlines()}
    assert {"HOURS", "DEVICE", "STRICT", "PICTURES"} <= names


def test_a_notebook_without_parameters_is_refused():
    with pytest.raises(ValueError, match="0 cells have the tag"):
        execute.with_parameters(nbformat.v4.new_notebook(), {})
