import cv2
import numpy as np
import pytest

from lumbar_kernel.errors import ConfigError
from lumbar_kernel.grids import upright_frame
from lumbar_kernel.results import drawing
from lumbar_kernel.schema import SEVERITIES
from tests.conftest import make_slice


def test_lines_are_as_wide_as_asked_and_lose_no_word():
    words = "a file: pixels cannot be decoded, its transfer syntax is JPEG 2000 and no decoder for it is installed"
    lines = drawing.wrapped(words, 200)
    assert len(lines) > 2
    assert " ".join(lines) == words
    assert max(map(drawing.width_of, lines)) <= 200


@pytest.mark.parametrize("size", [16, 64, 200])
def test_a_grid_is_fitted_with_its_edges_where_they_were(size):
    grid = upright_frame(make_slice(spacing=(0.7, 0.7), shape=(40, 56)).plane, 48, sagittal=True)
    fitted, corner = drawing.fitted(grid, size), np.array([-0.5, -0.5])
    assert fitted.shape == (size, size)
    assert np.allclose(fitted.to_mm(corner), grid.to_mm(corner))
    assert np.allclose(fitted.to_mm(corner + size), grid.to_mm(corner + 48))


def test_each_grade_has_its_colour():
    assert len(set(drawing.SEVERITY_COLOURS)) == len(SEVERITIES)


def test_a_word_wider_than_its_line_is_cut():
    (line,) = drawing.wrapped("1.2.840." * 20, 150)
    assert 0 < drawing.width_of(line) <= 150


def test_text_stands_on_any_background():
    for grey in (0, 255):
        panel = drawing.blank(40, 200, (grey,) * 3)
        drawing.text(panel, "L4/L5 ü", (10, 25), drawing.TEXT)
        assert panel.std() > 5


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_saved_picture_is_the_one_drawn(suffix, tmp_path):
    picture = drawing.blank(60, 80, (200, 30, 90))
    path = tmp_path / "deep" / f"picture{suffix}"
    drawing.save(picture, path)
    assert np.abs(cv2.imread(str(path)).astype(int) - picture).max() < 12


@pytest.mark.parametrize("name", ["picture", "picture.gif", "picture.PNG"])
def test_a_name_of_another_format_is_refused(name, tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.png or \.jpg"):
        drawing.save(drawing.blank(6, 8), tmp_path / name)
    assert [*tmp_path.iterdir()] == []


def test_a_ring_is_open_and_a_dot_is_not():
    dot, ring = drawing.blank(40, 40, (128, 128, 128)), drawing.blank(40, 40, (128, 128, 128))
    drawing.dot(dot, (20, 20), drawing.CANAL_COLOUR)
    drawing.ring(ring, (20, 20), drawing.CANAL_COLOUR)
    assert tuple(dot[20, 20]) == drawing.CANAL_COLOUR
    assert tuple(ring[20, 20]) == (128, 128, 128)


def test_a_fitted_grid_holds_the_whole_of_a_narrow_one():
    grid = make_slice(spacing=(1.5, 1.5), shape=(40, 20)).plane
    fitted = drawing.fitted(grid, 120)
    assert fitted.shape == (120, 120)
    assert fitted.contains(fitted.to_pixel(grid.corners)).all()
    assert fitted.extent_mm[0] == pytest.approx(grid.extent_mm[0])
    column, row = drawing.place_of(fitted, grid.to_mm(np.array([20.0, 5.0])))
    assert (column, row) == (16, 61)  # three pixels each: 3 · 5 + 1, 3 · 20 + 1
