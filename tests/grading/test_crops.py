import numpy as np
import pytest

from lumbar_kernel.grading.crops import cut_crops, cut_slices
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1
from lumbar_kernel.study import Series, Study
from lumbar_kernel.views import VIEWS, level_and_side
from training.phantoms import truth_of
from training.studies import true_views


@pytest.fixture(scope="module")
def views(phantom):
    return true_views(phantom.study, truth_of(phantom.truth))


@pytest.fixture(scope="module")
def crops(phantom, landmarks, views):
    return cut_crops(phantom.study, landmarks, views)


def test_every_view_is_cut_in_its_window(crops):
    assert set(crops) == set(VIEWS)
    for name, view in VIEWS.items():
        count = len(level_and_side(view))
        assert crops[name].images.shape == (count, view.geometry.slices, *view.geometry.shape)
        assert crops[name].images.dtype == np.uint8
        assert np.allclose(crops[name].slice_weight.sum(axis=1), 1)


def test_a_missing_role_is_a_missing_view(phantom, landmarks):
    kept = tuple(series for series in phantom.study.series if series.role == SAGITTAL_T1)
    assert set(cut_crops(Study("1", kept), landmarks, (None,) * 5)) == {"sagittal_t1"}


def test_a_level_without_axial_slice_is_not_present(phantom, landmarks, views):
    crops = cut_crops(phantom.study, landmarks, (None, *views[1:]))["axial_t2"]
    assert not crops.present[:2].any()
    assert not crops.images[:2].any()
    assert crops.present[2:].tolist() == [view is not None for view in views[1:] for _ in range(2)]


def test_the_right_side_is_the_mirrored_left(crops):
    axial = crops["axial_t2"]
    level = int(np.flatnonzero(axial.present)[0] // 2)
    assert np.array_equal(axial.images[2 * level], axial.images[2 * level + 1][:, :, ::-1])


def test_crops_do_not_depend_on_the_order_of_slices(phantom, landmarks, views, crops):
    turned = tuple(Series(s.series_id, s.role, s.slices[::-1]) for s in phantom.study.series)
    again = cut_crops(Study("1", turned), landmarks, views)
    for name in VIEWS:
        assert np.array_equal(again[name].images, crops[name].images)


def test_a_wider_crop_holds_the_window_in_its_middle(phantom, landmarks):
    view = VIEWS["axial_t2"]
    slices = phantom.study.slices(AXIAL_T2)[:3]
    narrow, wide = (cut_slices(slices, slices[1].plane.centre, view=view, wider=w) for w in (1.0, 1.5))
    rows, columns = view.geometry.shape
    top, left = (wide.shape[1] - rows) // 2, (wide.shape[2] - columns) // 2
    middle = wide[:, top : top + rows, left : left + columns].astype(float)
    assert np.corrcoef(middle.ravel(), narrow.ravel())[0, 1] > 0.98
