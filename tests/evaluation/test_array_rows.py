from dataclasses import dataclass

import numpy as np

from evaluation.array_rows import concatenate, select


@dataclass(frozen=True, eq=False)
class Marks:
    name: np.ndarray
    place: np.ndarray


MARKS = Marks(np.array(["a", "b", "c"]), np.arange(6).reshape(3, 2))


def test_rows_are_chosen_by_mask_and_by_index():
    for chosen in (np.array([True, False, True]), np.array([0, 2])):
        held = select(MARKS, chosen)
        assert isinstance(held, Marks)
        assert held.name.tolist() == ["a", "c"]
        assert held.place.tolist() == [[0, 1], [4, 5]]


def test_parts_that_were_chosen_join_to_the_whole():
    parts = [select(MARKS, np.array([0])), select(MARKS, np.array([1, 2]))]
    assert concatenate(parts).name.tolist() == ["a", "b", "c"]
    assert np.array_equal(concatenate(parts).place, MARKS.place)
