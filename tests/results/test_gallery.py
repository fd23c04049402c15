from dataclasses import replace

import cv2
import numpy as np

from lumbar_kernel.results import drawing, gallery
from lumbar_kernel.results.gallery import GRADE_COLOURS, SIZE, draw_gallery
from lumbar_kernel.schema import AXIAL_T2, CANAL, SAGITTAL_T1, SAGITTAL_T2, row_index
from lumbar_kernel.study import Study
from tests.conftest import make_slice


def without(study, *roles):
    return Study(study.study_id, tuple(item for item in study.series if item.role not in roles))


def coloured(picture, colour):
    """How many pixels have nearly a colour, blue first."""
    return int((np.abs(picture.astype(int) - colour).max(axis=2) < 30).sum())


def test_a_gallery_has_a_row_for_each_study_and_its_points_in_the_colours_of_their_grades(phantom, tmp_path):
    truths = [replace(phantom.truth, grades=np.full(25, grade)) for grade in (0, 1, 2)]
    draw_gallery([(phantom.study, truth) for truth in truths], tmp_path / "deep" / "gallery.png")
    picture = cv2.imread(str(tmp_path / "deep" / "gallery.png"))[-3 * SIZE :]
    assert picture.shape == (3 * SIZE, 5 * SIZE, 3)
    for row, colour in enumerate(GRADE_COLOURS[:3]):
        for panel in range(5):
            shown = picture[row * SIZE : (row + 1) * SIZE, panel * SIZE : (panel + 1) * SIZE]
            assert shown.std() > 10
            counts = [coloured(shown, other) for other in GRADE_COLOURS[:3]]
            assert counts[row] == max(counts) >= 3 * 20, (row, panel, colour)


def test_a_gallery_leaves_out_what_nobody_marked_or_scanned(phantom, tmp_path):
    recesses, canal = phantom.truth.recesses.copy(), phantom.truth.canal.copy()
    recesses[:, 0], canal[:4] = np.nan, np.nan
    truth = replace(phantom.truth, recesses=recesses, canal=canal, grades=np.full(25, -1))
    pairs = [(without(phantom.study, role), truth) for role in (SAGITTAL_T1, SAGITTAL_T2, AXIAL_T2)]
    draw_gallery(pairs, tmp_path / "gallery.png")
    picture = cv2.imread(str(tmp_path / "gallery.png"))[-3 * SIZE :]
    empty = (
        np.array(
            [
                [np.ptp(picture[y : y + SIZE, x : x + SIZE][30:], axis=(0, 1)).max() for x in range(0, 5 * SIZE, SIZE)]
                for y in (0, SIZE, 2 * SIZE)
            ]
        )
        == 0
    )
    assert empty[:, :3].tolist() == [[False, True, True], [True, False, False], [False, False, False]]
    assert empty[2, 3:].all()


def test_a_gallery_shows_the_lowest_of_the_worst_levels_close_up(phantom, tmp_path, monkeypatch):
    titles, original = [], drawing.title
    monkeypatch.setattr(drawing, "title", lambda panel, words: (titles.append(words), original(panel, words)))
    grades = np.zeros(25, int)
    for level in (1, 2):
        grades[row_index(CANAL, level)] = 2
    draw_gallery([(phantom.study, replace(phantom.truth, grades=grades))], tmp_path / "gallery.png")
    assert [title[:16] for title in titles[-2:]] == ["axial T2, L4/L5", "axial T2, L3/L4"]
    assert ["right foramina" in titles[1], "left foramina" in titles[2]] == [True, True]


def test_a_point_off_its_slice_is_a_ring_in_a_gallery():
    item = make_slice(shape=(100, 100))
    points = item.plane.to_mm(np.array([[30.0, 30], [70, 70]])) + np.outer([3.0, 5.0], item.plane.normal)
    panel = drawing.blank(SIZE, SIZE)
    grid = drawing.fitted(item.plane, SIZE)
    gallery._mark_grades(panel, grid, item, points, np.array([0, 2]))
    places = [drawing.place_of(grid, point) for point in points]
    assert [tuple(panel[row, column]) for column, row in places] == [GRADE_COLOURS[0], drawing.BACKGROUND]
