import numpy as np

from lumbar_kernel.runtime.stages import thinned
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2


def test_a_thin_study_keeps_every_second_sagittal_slice_with_the_middle_and_all_axial_ones(phantom):
    thin = thinned(phantom.study, 2)
    assert len(thin.slices(AXIAL_T2)) == len(phantom.study.slices(AXIAL_T2))
    for role in (SAGITTAL_T1, SAGITTAL_T2):
        whole, kept = phantom.study.slices(role), thin.slices(role)
        assert abs(len(kept) - len(whole) / 2) <= 1
        assert any(item is whole[len(whole) // 2] for item in kept)
        steps = np.diff([item.plane.centre[0] for item in kept])
        assert steps.min() > 1.5 * np.diff([item.plane.centre[0] for item in whole]).max() / 1.1


def test_stride_one_keeps_everything(phantom):
    whole = [item for series in phantom.study.series for item in series.slices]
    same = [item for series in thinned(phantom.study, 1).series for item in series.slices]
    assert all(a is b for a, b in zip(whole, same, strict=True))
