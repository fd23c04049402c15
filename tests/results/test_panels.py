from dataclasses import replace

import cv2
import numpy as np
import pytest

from lumbar_kernel.geometry import LEFT
from lumbar_kernel.localisation.slice_maps import frame_of
from lumbar_kernel.results import drawing
from lumbar_kernel.results import panels as panels_module
from lumbar_kernel.results.panels import axial_panels, crop_panels, mark_levels, sagittal_panels
from lumbar_kernel.schema import SAGITTAL_T1
from lumbar_kernel.slice_choice import nearest_sagittal

SIZE = 240


@pytest.fixture
def words(monkeypatch):
    """What is written on panels."""
    written = []
    original = drawing.text
    monkeypatch.setattr(
        drawing, "text", lambda panel, text, *a, **k: (written.append(text), original(panel, text, *a, **k))
    )
    return written


def coloured(panel, colour):
    return np.argwhere(np.abs(panel.astype(int) - colour).max(axis=2) < 30)


def test_marks_follow_the_landmarks(phantom, landmarks):
    """Moved landmarks colour other pixels: at the new place, and no longer at the old one."""
    moved = replace(landmarks, canal=landmarks.canal + np.array([0.0, 0.0, 12.0]))
    places = [
        coloured(sagittal_panels(phantom.study, item, size=SIZE)[0], drawing.CANAL_COLOUR)
        for item in (landmarks, moved)
    ]
    assert min(map(len, places)) >= 5 * 9
    assert places[1][:, 0].mean() < places[0][:, 0].mean() - 5


@pytest.mark.parametrize(("shift", "side"), [(13.0, "L"), (-13.0, "R")])
def test_a_point_of_another_slice_is_a_ring_with_its_distance_and_side(phantom, landmarks, words, shift, side):
    slices = phantom.study.slices(SAGITTAL_T1)
    item = nearest_sagittal(slices, landmarks.canal[2])
    on_slice = item.plane.projected(landmarks.canal)
    points = on_slice + np.array([[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [shift, 0, 0]])
    panel = drawing.blank(SIZE, SIZE)
    grid = drawing.fitted(frame_of(item), SIZE)
    mark_levels(panel, grid, item, points, drawing.CANAL_COLOUR, slices=slices)
    assert words[:4] == ["L1/L2", "L2/L3", "L3/L4", "L4/L5"]
    assert words[4] == f"L5/S1  13 mm {side}"
    column, row = drawing.place_of(grid, points[4])
    assert (panel[row, column] == drawing.BACKGROUND).all()


def test_a_level_without_axial_slice_is_shown_from_the_side(phantom, landmarks, views, words):
    panels = [*axial_panels(phantom.study, landmarks, (None, *views[1:]), size=SIZE)]
    assert len(panels) == 5
    assert panels[0].std() > 15
    assert "no axial slice within 10 mm of the disc" in words
    assert len(coloured(panels[0], drawing.CANAL_COLOUR)) > 20


def test_the_note_on_a_missing_axial_slice_names_the_rule(phantom, landmarks, words, monkeypatch):
    monkeypatch.setattr(panels_module, "AXIAL_CAP_MM", 12.5)
    assert len([*axial_panels(phantom.study, landmarks, (None,), size=SIZE)]) == 1
    assert "no axial slice within 12.5 mm of the disc" in words


def test_recesses_lie_on_their_sides(phantom, landmarks, views):
    """The patient's left is on the right of an axial panel, as radiologists view it."""
    for panel in axial_panels(phantom.study, landmarks, views, size=SIZE):
        left, right = (coloured(panel, colour)[:, 1].mean() for colour in drawing.SIDE_COLOURS)
        assert left > right + 5


def test_crops_that_are_absent_are_named(crops, words):
    without_axial = {name: item for name, item in crops.items() if name != "axial_t2"}
    panels = [*crop_panels(without_axial, size=SIZE)]
    assert len(panels) == 5
    assert words.count("not imaged") == 5
    assert all(panel[: SIZE // 2].std() > 15 for panel in panels)


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize(("shift", "where"), [(6.0, "6 mm above"), (-6.0, "6 mm below")])
def test_an_axial_slice_is_told_to_lie_above_or_below_its_disc(phantom, landmarks, views, words, shift, where, turn):
    view = views[2]
    plane = replace(view.item.plane, origin=landmarks.canal[2] + shift * landmarks.disc_normal[2])
    plane = replace(plane, row_direction=turn * plane.row_direction)
    level = replace(landmarks, disc_normal=np.tile(plane.normal, (5, 1)))
    [
        *axial_panels(
            phantom.study,
            level,
            (*views[:2], replace(view, item=replace(view.item, plane=plane)), None, None),
            size=SIZE,
        )
    ]
    assert f"{where} the disc, tilted 0 deg" in words


def test_a_recess_placed_by_geometry_is_a_ring(phantom, landmarks, views):
    half = replace(views[2], evidence=np.array([0.9, 0.0]))
    panel = [*axial_panels(phantom.study, landmarks, (None, None, half, None, None), size=SIZE)][2]
    grid = drawing.fitted(half.grid, SIZE)
    for side, filled in ((0, True), (1, False)):
        column, row = drawing.place_of(grid, half.recesses[side])
        assert (np.abs(panel[row, column].astype(int) - drawing.SIDE_COLOURS[side]).max() < 5) == filled


def test_a_point_just_beside_a_slice_lies_in_it_though_another_series_has_a_nearer_one(phantom, landmarks, words):
    item = nearest_sagittal(phantom.study.slices(SAGITTAL_T1), landmarks.canal[2])
    nearer = replace(item, plane=replace(item.plane, origin=item.plane.origin + 1.5 * LEFT))
    points = item.plane.projected(landmarks.canal) + np.outer([1.5, 1.5, 1.5, 1.5, 2.5], LEFT)
    panel, grid = drawing.blank(SIZE, SIZE), drawing.fitted(frame_of(item), SIZE)
    mark_levels(panel, grid, item, points, drawing.CANAL_COLOUR, slices=(item, nearer))
    assert [text.split("  ")[0] == text for text in words] == [True, True, True, True, False]


def test_foramina_and_crops_of_either_side_stand_under_their_name(phantom, landmarks, crops, words):
    sagittal_panels(phantom.study, landmarks, size=SIZE)
    titles = [text for text in words if "foramina" in text]
    assert ["right foramina" in titles[0], "left foramina" in titles[1]] == [True, True]
    one_side = replace(crops["sagittal_t1"], present=np.arange(10) % 2 == 1)  # the right ones
    words.clear()
    panels = [*crop_panels({"sagittal_t1": one_side}, size=SIZE)]
    assert words[:4] == ["right foramen", "left foramen", "not imaged", "canal"]
    half = SIZE // 2
    expected = cv2.resize(one_side.images[5, 1], (half, half), interpolation=cv2.INTER_CUBIC)
    seen = panels[2][:half, :half, 0].astype(int)[30 : half - 30]  # without the names above and below
    assert np.array_equal(seen, expected[30 : half - 30])
