from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.localisation.slice_maps import frame_of
from lumbar_kernel.results import drawing
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
