import pytest

from lumbar_kernel.schema import GROUPS, LEVELS, SUBARTICULAR
from lumbar_kernel.views import BASIC_VIEWS, CANALS, COARSEST_MM, DISCS, VIEWS, level_and_side


def test_the_views_together_show_every_condition():
    assert {group for view in VIEWS.values() for group in view.groups} == set(GROUPS)


@pytest.mark.parametrize("name", VIEWS)
def test_every_level_is_cut_once_a_side_in_order(name):
    view = VIEWS[name]
    order = level_and_side(view)
    sides = [0, 1] if view.sided else [None]
    assert order == [(level, side) for level in range(len(LEVELS)) for side in sides]


@pytest.mark.parametrize("name", VIEWS)
def test_crops_have_a_middle_slice_and_no_finer_pixels_than_their_detail(name):
    geometry = VIEWS[name].geometry
    assert geometry.slices % 2 == 1
    assert geometry.spacing <= geometry.resolution
    assert all(size % 2 == 0 for size in geometry.shape)


def test_slices_keep_the_detail_of_the_frames_that_their_members_learnt_from():
    plain, framed = VIEWS["sagittal_t2"].geometry, VIEWS["sagittal_t1"].geometry
    assert plain.resolution_of(300.0) == plain.resolution
    assert framed.resolution_of(300.0) == pytest.approx(300 / framed.frame)
    assert framed.resolution_of(100.0) == framed.resolution
    assert framed.resolution_of(900.0) == COARSEST_MM


def test_only_axial_crops_show_the_recesses_and_they_are_sided():
    for view in VIEWS.values():
        assert (SUBARTICULAR in view.groups) == (view.centred_on == DISCS)
    assert all(view.sided for view in VIEWS.values() if view.centred_on != CANALS)


def test_the_basic_views_show_every_condition():
    assert {group for name in BASIC_VIEWS for group in VIEWS[name].groups} == set(GROUPS)
