import numpy as np
import pytest

from tests.training.conftest import grade_examples
from training.examples import (
    HELD_OUT_STUDIES,
    concatenate,
    load_grades,
    load_landmarks,
    save,
    select,
    without_held_out,
)


def test_examples_survive_the_disk(tmp_path):
    examples = grade_examples(["a", "b", "c"])
    save(examples, tmp_path / "deep" / "x.npz")
    again = load_grades(tmp_path / "deep" / "x.npz")
    assert all(np.array_equal(getattr(again, k), getattr(examples, k)) for k in examples.__dataclass_fields__)
    with pytest.raises(TypeError, match="GradeExamples"):
        load_landmarks(tmp_path / "deep" / "x.npz")


def test_held_out_studies_never_stay():
    examples = grade_examples(["a", *HELD_OUT_STUDIES, "b"])
    assert without_held_out(examples).group.tolist() == ["a", "b"]
    assert len(concatenate([examples, select(examples, np.array([0]))]).fold) == 6
