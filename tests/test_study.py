import dataclasses

import numpy as np
import pytest

from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1
from lumbar_kernel.study import Series, Study
from tests.conftest import make_slice


def test_slices_of_a_role_come_series_after_series():
    first, second, other = make_slice(), make_slice(), make_slice()
    series = (Series("1", AXIAL_T2, (first,)), Series("2", SAGITTAL_T1, (other,)), Series("3", AXIAL_T2, (second,)))
    study = Study("7", series)
    assert all(a is b for a, b in zip(study.slices(AXIAL_T2), (first, second), strict=True))
    assert len(study.slices(SAGITTAL_T1)) == 1
    assert Study("7", ()).slices(AXIAL_T2) == ()


def test_a_study_cannot_be_changed_on_the_way():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Study("7", ()).study_id = "8"


def test_slices_of_one_role_are_changed_and_left_out(phantom):
    study = phantom.study
    changed = study.with_slices(AXIAL_T2, lambda item: dataclasses.replace(item, instance_number=7))
    assert {item.instance_number for item in changed.slices(AXIAL_T2)} == {7}
    assert changed.series_of(SAGITTAL_T1) == study.series_of(SAGITTAL_T1)
    assert study.without(AXIAL_T2).series == tuple(item for item in study.series if item.role != AXIAL_T2)


@pytest.mark.parametrize(("first", "blank"), [(0.0, False), (5.0, True)])
def test_a_slice_of_one_grey_is_blank(first, blank):
    pixels = np.full((40, 30), 5.0, np.float32)
    pixels[0, 0] = first
    assert make_slice(pixels=pixels).is_blank == blank
