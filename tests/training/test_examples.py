from dataclasses import replace

import numpy as np
import pytest

from evaluation.held_out_studies import HELD_OUT_STUDIES
from lumbar_kernel.views import VIEWS
from tests.training.conftest import grade_examples
from training.examples import GradeExamples, LandmarkExamples, layout, load, save, without_held_out


def test_examples_survive_the_disk(tmp_path):
    examples = grade_examples(["a", "b", "c"])
    save(examples, tmp_path / "deep" / "x.npz")
    again = load(tmp_path / "deep" / "x.npz", GradeExamples)
    assert all(np.array_equal(getattr(again, k), getattr(examples, k)) for k in examples.__dataclass_fields__)
    with pytest.raises(TypeError, match="does not hold LandmarkExamples"):
        load(tmp_path / "deep" / "x.npz", LandmarkExamples)


def test_held_out_studies_never_stay():
    examples = grade_examples(["a", *HELD_OUT_STUDIES, "b"])
    assert without_held_out(examples).group.tolist() == ["a", "b"]


def test_examples_of_another_window_or_side_are_out_of_date(monkeypatch):
    before, view = layout(), VIEWS["sagittal_t2"]
    monkeypatch.setitem(VIEWS, "sagittal_t2", replace(view, geometry=replace(view.geometry, spacing=0.4)))
    after = layout()
    monkeypatch.setitem(VIEWS, "sagittal_t2", replace(view, sided=True))
    assert len({before, after, layout()}) == 3


@pytest.mark.parametrize("kind", [GradeExamples, LandmarkExamples])
def test_a_source_without_examples_is_named(kind):
    with pytest.raises(ValueError, match="sagittal_t1 gives no"):
        kind.of([], source="sagittal_t1")
