from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.geometry import CRANIAL, LEFT
from lumbar_kernel.grading import crops as crops_module
from lumbar_kernel.grading.crops import (
    FORAMEN_STEP_MM,
    RECESS_DISTANCE_MM,
    axial_window,
    crop_shape,
    cut_crops,
    cut_sagittal,
    cut_stack,
    foraminal_scale,
    sagittal_window,
)
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2, SIDES
from lumbar_kernel.slice_choice import nearest_sagittal, sagittal_showing, stack_around
from lumbar_kernel.study import Series, Study
from lumbar_kernel.views import VIEWS, level_and_side


@pytest.fixture(scope="module")
def crops(phantom, landmarks, views):
    return cut_crops(phantom.study, landmarks, views, views=VIEWS)


def test_every_view_is_cut_in_its_window(crops):
    assert set(crops) == set(VIEWS)
    for name, view in VIEWS.items():
        count = len(level_and_side(view))
        assert crops[name].images.shape == (count, view.geometry.slices, *view.geometry.shape)
        assert crops[name].images.dtype == np.uint8
        assert crops[name].shown.shape == (count, view.geometry.slices)
        assert crops[name].shown[:, view.geometry.slices // 2].all()


def test_sides_of_a_view_follow_from_the_view_whatever_it_is_centred_on(phantom, landmarks, views, crops, monkeypatch):
    changed = {name: replace(VIEWS[name], sided=not VIEWS[name].sided) for name in ("axial_t2", "sagittal_t2")}
    monkeypatch.setattr(crops_module, "VIEWS", changed)
    others = cut_crops(phantom.study, landmarks, views, views=changed)
    assert np.array_equal(others["axial_t2"].images, crops["axial_t2"].images[0::2])
    for side in range(2):
        assert np.array_equal(others["sagittal_t2"].images[side::2], crops["sagittal_t2"].images)


def test_a_view_with_an_unknown_centre_is_refused(phantom, landmarks, views, monkeypatch):
    monkeypatch.setattr(crops_module, "VIEWS", {"new": replace(VIEWS["sagittal_t2"], centred_on="vertebrae")})
    with pytest.raises(ValueError, match="vertebrae"):
        cut_crops(phantom.study, landmarks, views, views=("new",))


def test_a_missing_role_is_a_missing_view(phantom, landmarks):
    kept = tuple(series for series in phantom.study.series if series.role == SAGITTAL_T1)
    assert set(cut_crops(Study("1", kept), landmarks, (None,) * 5)) == {"sagittal_t1"}


def test_a_level_without_axial_slice_is_not_present(phantom, landmarks, views):
    crops = cut_crops(phantom.study, landmarks, (None, *views[1:]))["axial_t2"]
    assert not crops.present[:2].any()
    assert not crops.images[:2].any()
    assert crops.present[2:].tolist() == [view is not None for view in views[1:] for _ in range(2)]


def test_foramina_beyond_the_slices_and_canals_outside_the_frame_are_not_present(phantom, landmarks, views):
    left = [item for item in phantom.study.slices(SAGITTAL_T1) if item.plane.centre @ LEFT > 8.0]
    high = [
        replace(item, plane=replace(item.plane, origin=item.plane.origin + 400 * CRANIAL))
        for item in phantom.study.slices(SAGITTAL_T2)
    ]
    study = Study("1", (Series("1", SAGITTAL_T1, tuple(left)), Series("2", SAGITTAL_T2, tuple(high))))
    crops = cut_crops(study, landmarks, (None,) * 5)
    sides = [side for _, side in level_and_side(VIEWS["sagittal_t1"])]
    assert crops["sagittal_t1"].present.tolist() == [SIDES[side] == "left" for side in sides]
    assert not crops["sagittal_t2"].present.any()
    assert not crops["sagittal_t2"].images.any()


def test_what_a_blank_slice_would_show_is_not_present(phantom, landmarks, views):
    def blank(item):
        return replace(item, pixels=np.zeros_like(item.pixels))

    series = tuple(
        replace(each, slices=tuple(map(blank, each.slices))) if each.role == SAGITTAL_T1 else each
        for each in phantom.study.series
    )
    dark = (*views[:2], replace(views[2], item=blank(views[2].item)), *views[3:])
    found = cut_crops(replace(phantom.study, series=series), landmarks, dark)
    assert not found["sagittal_t1"].present.any()
    assert found["sagittal_t2"].present.all()
    assert found["axial_t2"].present.tolist() == [level != 2 for level in range(5) for _ in SIDES]


def test_a_blank_sagittal_slice_costs_as_little_as_one_that_is_missing(phantom, landmarks, views):
    """The next slice shows the foramen, as where the file is absent."""
    (t1,) = phantom.study.series_of(SAGITTAL_T1)
    lost = sagittal_showing(t1.slices, landmarks.foramina[2, 0])

    def of(slices):
        others = tuple(each for each in phantom.study.series if each is not t1)
        return cut_crops(replace(phantom.study, series=(*others, replace(t1, slices=slices))), landmarks, views)

    absent = of(tuple(item for item in t1.slices if item is not lost))["sagittal_t1"]
    blanked = replace(lost, pixels=np.full_like(lost.pixels, 7))
    blank = of(tuple(blanked if item is lost else item for item in t1.slices))["sagittal_t1"]
    assert blank.present.all()
    level_with_it = level_and_side(VIEWS["sagittal_t1"]).index((2, 0))
    middle = blank.images.shape[1] // 2
    assert np.array_equal(blank.images[level_with_it, middle], absent.images[level_with_it, middle])


def test_an_empty_neighbour_is_a_missing_one(phantom, landmarks, views):
    middles = {id(view.item) for view in views if view}

    def left(item):
        return item if id(item) in middles else replace(item, pixels=np.zeros_like(item.pixels))

    crops = cut_crops(phantom.study.with_slices(AXIAL_T2, left), landmarks, views)["axial_t2"]
    assert crops.shown[crops.present].any(axis=1).all()
    assert not crops.shown[crops.present][:, [0, 2]].any()
    assert all(np.array_equal(crop[0], crop[1]) for crop in crops.images[crops.present])


def test_a_stack_keeps_to_its_series_where_another_lies_between(phantom, landmarks, views):
    (own,) = phantom.study.series_of(SAGITTAL_T2)
    step = own.slices[1].plane.origin - own.slices[0].plane.origin
    between = tuple(
        replace(item, plane=replace(item.plane, origin=item.plane.origin + 0.3 * step), pixels=0 * item.pixels)
        for item in own.slices
    )
    alone, both = (
        cut_crops(Study("1", series), landmarks, (None,) * 5)["sagittal_t2"]
        for series in ((own,), (own, replace(own, series_id="2", slices=between)))
    )
    chosen = [level for level in range(5) if both.images[level, 1].any()]  # the others are nearer to the other series
    assert chosen
    assert all(np.array_equal(alone.images[level], both.images[level]) for level in chosen)


def test_the_right_side_is_the_mirrored_left(crops):
    axial = crops["axial_t2"]
    level = int(np.flatnonzero(axial.present)[0] // 2)
    assert np.array_equal(axial.images[2 * level], axial.images[2 * level + 1][:, :, ::-1])


def test_crops_do_not_depend_on_the_order_of_slices(phantom, landmarks, views, crops):
    turned = tuple(Series(s.series_id, s.role, s.slices[::-1]) for s in phantom.study.series)
    again = cut_crops(Study("1", turned), landmarks, views, views=VIEWS)
    for name in VIEWS:
        assert np.array_equal(again[name].images, crops[name].images)


def test_a_wider_crop_holds_the_window_in_its_middle(phantom):
    view = VIEWS["sagittal_t2"]
    slices = phantom.study.slices(SAGITTAL_T1)[4:7]
    windows = (sagittal_window(slices[1], slices[1].plane.centre, view, wider=w) for w in (1.0, 1.5))
    narrow, wide = (cut_stack(slices, window, resolution=0.5)[0] for window in windows)
    rows, columns = view.geometry.shape
    top, left = (wide.shape[1] - rows) // 2, (wide.shape[2] - columns) // 2
    middle = wide[:, top : top + rows, left : left + columns].astype(float)
    assert np.corrcoef(middle.ravel(), narrow.ravel())[0, 1] > 0.98


def test_a_missing_slice_is_marked_and_takes_the_picture_of_the_middle_one(phantom):
    first, second = phantom.study.slices(SAGITTAL_T1)[4:6]
    window = sagittal_window(first, first.plane.centre, VIEWS["sagittal_t1"])
    images, shown = cut_stack([None, first, second], window, resolution=1.1)
    assert shown.tolist() == [False, True, True]
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[1], images[2])


def test_a_fine_slice_is_cut_in_the_detail_of_the_frames_to_train_on(phantom):
    view = VIEWS["sagittal_t1"]
    item = phantom.study.slices(SAGITTAL_T1)[4]
    noisy = replace(item, pixels=np.random.default_rng(0).normal(100, 20, item.pixels.shape).astype(np.float32))
    coarse = view.geometry.resolution_of(max(item.plane.extent_mm))
    window = sagittal_window(noisy, item.plane.centre, view)
    (cut, _), (expected, _) = (
        cut_sagittal((None, noisy, None), item.plane.centre, view),
        cut_stack((None, noisy, None), window, resolution=coarse),
    )
    assert np.array_equal(cut, expected)
    sharp, _ = cut_stack((None, noisy, None), window, resolution=0.0)
    assert np.abs(np.diff(cut[1].astype(float))).mean() < 0.9 * np.abs(np.diff(sharp[1].astype(float))).mean()


def test_a_stack_without_its_middle_slice_is_refused(phantom):
    item = phantom.study.slices(SAGITTAL_T1)[4]
    with pytest.raises(ValueError, match="middle slice"):
        cut_sagittal((item, None, item), item.plane.centre, VIEWS["sagittal_t1"])


def test_foramina_are_shown_at_one_step_whatever_the_size_of_the_patient(landmarks):
    scale = foraminal_scale(landmarks.foramina)
    step = np.diff(landmarks.foramina.mean(axis=1) @ CRANIAL).mean()
    assert scale == pytest.approx(-step / FORAMEN_STEP_MM, rel=0.05)
    assert foraminal_scale(landmarks.foramina * 0.9) == pytest.approx(0.9 * scale)
    assert foraminal_scale(landmarks.foramina * 3) == 1.5


@pytest.mark.parametrize("degrees", [-12, 0, 15])
def test_axial_windows_bring_the_recesses_to_their_usual_places(views, degrees):
    level, view = next((k, view) for k, view in enumerate(views) if view is not None)
    down, right = view.grid.column_direction, view.grid.row_direction
    angle = np.radians(degrees)
    half = 8.0 * (np.cos(angle) * right + np.sin(angle) * down)
    turned = replace(view, recesses=np.stack([view.centre + half, view.centre - half]), evidence=np.ones(2))
    window = axial_window(turned, level, VIEWS["axial_t2"])
    left, opposite = window.to_pixel(turned.recesses)
    assert left[0] == pytest.approx(opposite[0])
    assert (left[1] - opposite[1]) * VIEWS["axial_t2"].geometry.spacing == pytest.approx(RECESS_DISTANCE_MM[level])
    unsure = axial_window(replace(turned, evidence=np.array([1.0, 0.0])), level, VIEWS["axial_t2"])
    assert np.allclose(unsure.row_direction, right)
    assert unsure.row_spacing == VIEWS["axial_t2"].geometry.spacing


def test_scales_and_turns_end_where_a_wrong_level_or_recess_begins(landmarks, views):
    assert foraminal_scale(landmarks.foramina * 0.1) == 0.7
    level, view = next((k, view) for k, view in enumerate(views) if view is not None)
    down, right = view.grid.column_direction, view.grid.row_direction
    spacing = VIEWS["axial_t2"].geometry.spacing
    for half, scale, degrees in (
        (2 * right, 0.75, 0),
        (30 * right, 1.33, 0),
        (8 * down, None, 20),
        (-8 * down, None, -20),
    ):
        odd = replace(view, recesses=np.stack([view.centre + half, view.centre - half]), evidence=np.ones(2))
        window = axial_window(odd, level, VIEWS["axial_t2"])
        assert scale is None or window.row_spacing == pytest.approx(scale * spacing)
        assert np.degrees(np.arctan2(window.row_direction @ down, window.row_direction @ right)) == pytest.approx(
            degrees
        )


@pytest.mark.parametrize("level", range(5))
def test_axial_windows_have_the_usual_width_of_their_level(views, level):
    view = next(view for view in views if view is not None)
    half = RECESS_DISTANCE_MM[level] / 2 * view.grid.row_direction
    usual = replace(view, recesses=np.stack([view.centre + half, view.centre - half]), evidence=np.ones(2))
    geometry = VIEWS["axial_t2"].geometry
    assert axial_window(usual, level, VIEWS["axial_t2"]).row_spacing == pytest.approx(geometry.spacing)


def test_foramina_are_cut_at_the_scale_of_their_study_and_canals_and_discs_at_their_own(phantom, landmarks, views):
    large = replace(landmarks, foramina=landmarks.foramina * [1, 1, 1.3])
    t1, t2 = (phantom.study.slices(role) for role in (SAGITTAL_T1, SAGITTAL_T2))
    cut = cut_crops(phantom.study, large, views)
    scale = foraminal_scale(large.foramina)
    assert scale > 1.1
    for name, slices, point, index, scale_of in (
        ("sagittal_t1", t1, large.foramina[2, 1], 5, scale),
        ("sagittal_t2", t2, large.canal[2], 2, 1.0),
    ):
        stack = stack_around(slices, sagittal_showing(slices, point), count=3)
        expected, _ = cut_sagittal(stack, point, VIEWS[name], scale=scale_of)
        assert np.array_equal(cut[name].images[index], expected)
    view, axial = VIEWS["axial_t2"], phantom.study.slices(AXIAL_T2)
    expected, _ = cut_stack(
        stack_around(axial, views[2].item, count=3),
        axial_window(views[2], 2, view),
        resolution=view.geometry.resolution,
    )
    assert np.array_equal(cut["axial_t2"].images[4], expected)


def test_a_series_in_two_parts_gives_the_stacks_of_the_whole(phantom, landmarks):
    (whole,) = phantom.study.series_of(SAGITTAL_T2)
    middle = whole.slices.index(nearest_sagittal(whole.slices, landmarks.canal[2]))
    parts = tuple(
        Series(name, SAGITTAL_T2, part)
        for name, part in (("1", whole.slices[: middle + 1]), ("2", whole.slices[middle + 1 :]))
    )
    one, two = (cut_crops(Study("1", series), landmarks, (None,) * 5)["sagittal_t2"] for series in ((whole,), parts))
    assert two.shown.all()
    assert np.array_equal(one.images, two.images)
    away = replace(
        parts[1],
        slices=tuple(
            replace(item, plane=replace(item.plane, origin=item.plane.origin + 400 * CRANIAL))
            for item in parts[1].slices
        ),
    )
    alone = cut_crops(Study("1", (parts[0], away)), landmarks, (None,) * 5)["sagittal_t2"]
    assert alone.shown[2].tolist() == [True, True, False]  # the frames of the other part do not hold the point


def test_the_longer_side_of_a_slice_decides_on_its_detail(phantom):
    item = phantom.study.slices(SAGITTAL_T1)[4]
    rows, columns = item.plane.shape
    narrow = replace(item, plane=replace(item.plane, shape=(rows, columns // 2)), pixels=item.pixels[:, : columns // 2])
    view, centre = VIEWS["sagittal_t1"], narrow.plane.centre
    resolution = view.geometry.resolution_of(max(narrow.plane.extent_mm))
    assert resolution > view.geometry.resolution
    expected, _ = cut_stack((None, narrow, None), sagittal_window(narrow, centre, view), resolution=resolution)
    assert np.array_equal(cut_sagittal((None, narrow, None), centre, view)[0], expected)


@pytest.mark.parametrize("wider", [1.0, 1.01, 1.05, 1.3])
def test_a_wider_crop_has_even_sides(wider):
    for view in VIEWS.values():
        assert all(size % 2 == 0 for size in crop_shape(view, wider=wider))
