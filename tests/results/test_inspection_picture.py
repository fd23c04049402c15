from dataclasses import replace

import cv2
import numpy as np
import pytest

from lumbar_kernel.errors import ConfigError
from lumbar_kernel.results import drawing, inspection_picture
from lumbar_kernel.results.inspection_picture import (
    ACROSS,
    CAPTION,
    SCOUT,
    TILE,
    blocks,
    crossing,
    draw_inspection,
    geometry_of,
    inspection_sheet,
)
from lumbar_kernel.schema import AXIAL_T2
from lumbar_kernel.study import Series, Study
from tests.conftest import AXIAL, SAGITTAL, make_slice


def stack(count, *, start=0.0, step=4.0, tilt=0.0):
    """Axial slices one above the other, tilted by an angle in radians."""
    axes = (AXIAL[0], np.array([0.0, np.cos(tilt), -np.sin(tilt)]))
    return [make_slice(axes, origin=(0, 0, start + step * index)) for index in range(count)]


def test_slices_are_split_into_blocks_where_they_turn_or_leave_a_gap():
    slices = [*stack(4), *stack(3, start=50.0), *stack(5, start=62.0, tilt=0.3)]
    assert [len(block) for block in blocks(slices)] == [4, 3, 5]
    assert blocks([]) == []


def test_an_axial_slice_cuts_a_sagittal_one_at_its_height():
    axial = make_slice(AXIAL, origin=(-20, 5, 17), shape=(50, 40)).plane
    sagittal = make_slice(SAGITTAL, origin=(3, 0, 40), shape=(80, 60)).plane
    ends = np.array(crossing(axial, sagittal))
    assert np.allclose(ends[:, 0], 3)
    assert np.allclose(ends[:, 2], 17)
    assert np.allclose(np.sort(ends[:, 1]), [5 + 24.5 - 25, 5 + 24.5 + 25])


def test_planes_that_do_not_meet_have_no_line():
    axial = make_slice(AXIAL, origin=(-20, 0, 17)).plane
    assert crossing(axial, make_slice(SAGITTAL, origin=(300, 0, 0)).plane) is None
    assert crossing(axial, make_slice(AXIAL, origin=(0, 0, 30)).plane) is None


def test_mixed_matrices_and_steps_are_told():
    slices = (*stack(3), make_slice(AXIAL, origin=(0, 0, 12), shape=(20, 20)))
    assert geometry_of(Series("7", AXIAL_T2, slices)) == [
        "4 slices in 1 block",
        "2 matrices at 1.00x1.00 mm",
        "median step 4.0 mm",
    ]


def test_a_sheet_shows_every_series_and_the_lines_of_every_block(phantom):
    sheet = inspection_sheet(phantom.study)
    for number in range(len(phantom.study.series)):
        top, left = 44 + (TILE + CAPTION) * (number // ACROSS), SCOUT + TILE * (number % ACROSS)
        assert sheet[top : top + TILE, left : left + TILE].std() > 15
    axial = [series for series in phantom.study.series if series.role == AXIAL_T2]
    for number in range(sum(len(blocks(series.slices)) for series in axial)):
        colour = inspection_picture.BLOCK_COLOURS[number]
        assert (np.abs(sheet[44:, :SCOUT].astype(int) - colour).max(axis=2) < 25).sum() > 100


def test_what_is_missing_or_refused_is_written_without_names(phantom, monkeypatch):
    words = []
    original = drawing.text
    monkeypatch.setattr(
        drawing, "text", lambda panel, text, *a, **k: (words.append(text), original(panel, text, *a, **k))
    )
    kept = tuple(series for series in phantom.study.series if series.role != AXIAL_T2)
    doubled = (*kept, replace(kept[0], series_id="99"))
    inspection_sheet(Study("11", doubled, ("DOE/1.dcm: truncated", "DOE/2.dcm: truncated")))
    assert "problems" in words
    assert "no Axial T2 series" in words
    assert f"2 series are {kept[0].role}; all of them are used" in words
    assert "a file: truncated (2 times)" in words
    assert not any("DOE" in text for text in words)


def test_studies_stand_below_one_another_up_to_a_limit(phantom, tmp_path, monkeypatch):
    monkeypatch.setattr(inspection_picture, "MAX_STUDIES", 2)
    path = tmp_path / "sheet.png"
    assert draw_inspection([phantom.study, Study("empty", ()), phantom.study], path) == 2
    assert len(cv2.imread(str(path))) > SCOUT + 44
    with pytest.raises(ConfigError, match=r"\.png or \.jpg"):
        draw_inspection([phantom.study], tmp_path / "sheet.gif")


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_the_line_of_a_slice_lies_in_both_slices(tilt, turn):
    (axial,) = stack(1, tilt=tilt)
    sagittal = make_slice((turn * SAGITTAL[0], SAGITTAL[1]), origin=(9, -30, 40), shape=(80, 60)).plane
    ends = np.array(crossing(axial.plane, sagittal))
    assert np.allclose([axial.plane.distance(ends), sagittal.distance(ends)], 0, atol=1e-6)
    assert np.linalg.norm(ends[0] - ends[1]) == pytest.approx(40)
