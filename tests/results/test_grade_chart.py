import numpy as np
import pytest

from lumbar_kernel.results import drawing
from lumbar_kernel.results.grade_chart import COLUMNS, HEADING, LABELS, draw_grades, mixed_colour
from lumbar_kernel.schema import CANAL, LEVELS, ROWS, TARGETS, Target, row_index

SHAPE = (650, 500)


def cell_of(chart, column, level):
    height, width = (SHAPE[0] - HEADING) // 5, (SHAPE[1] - LABELS) // len(COLUMNS)
    return chart[HEADING + level * height :, LABELS + column * width :][: height - 4, : width - 4]


def test_each_grade_stands_in_the_cell_of_its_level_condition_and_side():
    for column, (group, side) in enumerate(COLUMNS):
        grades = np.tile([0.98, 0.01, 0.01], (25, 1))
        grades[TARGETS.index(Target(group, side, LEVELS[3]))] = [0.0, 0.0, 1.0]
        chart = drawing.blank(*SHAPE)
        draw_grades(chart, grades, np.ones(len(ROWS), bool))
        red = np.array([[cell_of(chart, k, level)[2, 2, 2] for level in range(5)] for k in range(len(COLUMNS))])
        assert np.unravel_index(red.argmax(), red.shape) == (column, 3)
        assert np.sort(red.ravel())[-2] < red.max() - 40


def test_the_prior_has_no_colour():
    graded = np.ones(len(ROWS), bool)
    graded[row_index(CANAL, 0)] = False
    chart = drawing.blank(*SHAPE)
    draw_grades(chart, np.tile([0.8, 0.1, 0.1], (25, 1)), graded)
    assert tuple(cell_of(chart, 0, 0)[2, 2]) == drawing.SURFACE
    assert tuple(cell_of(chart, 0, 1)[2, 2]) != drawing.SURFACE


@pytest.mark.parametrize("grade", range(3))
def test_text_is_readable_on_every_tint(grade):
    """Contrast of at least 4.5, as WCAG 2.1 asks for small text."""

    def luminance(colour):
        linear = [((c / 255 + 0.055) / 1.055) ** 2.4 if c / 255 > 0.04045 else c / 255 / 12.92 for c in colour[::-1]]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    tint = mixed_colour(np.eye(3)[grade])
    for colour in (drawing.TEXT, drawing.FAINT):
        assert (luminance(colour) + 0.05) / (luminance(tint) + 0.05) > 4.5


def test_the_right_of_the_patient_is_left_as_in_an_axial_picture():
    assert [side for _, side in COLUMNS] == ["", "right", "left", "right", "left"]


def test_the_most_frequent_grade_is_bright_though_a_rarer_one_has_the_larger_probability(monkeypatch):
    bright = []
    monkeypatch.setattr(
        drawing, "text", lambda panel, words, place, colour=drawing.TEXT, **_: bright.append((words, colour))
    )
    draw_grades(drawing.blank(*SHAPE), np.tile([0.3, 0.1, 0.6], (25, 1)), np.ones(len(ROWS), bool))
    names = [words for words, colour in bright if colour == drawing.TEXT and words in ("Nor", "Mod", "Sev")]
    assert names == ["Nor"] * 25  # 0.3 / 1 against 0.6 / 4


def test_the_bar_of_a_cell_is_divided_as_the_probabilities_are():
    chart = drawing.blank(*SHAPE)
    draw_grades(chart, np.tile([0.5, 0.2, 0.3], (25, 1)), np.ones(len(ROWS), bool))
    bar = cell_of(chart, 2, 1)[-10].astype(int)
    widths = [(np.abs(bar - colour).max(axis=1) < 5).sum() for colour in drawing.SEVERITY_COLOURS]
    assert np.allclose(np.array(widths) / sum(widths), [0.5, 0.2, 0.3], atol=0.03)
