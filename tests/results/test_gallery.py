from dataclasses import replace

import cv2
import numpy as np

from lumbar_kernel.results.gallery import GRADE_COLOURS, SIZE, draw_gallery
from lumbar_kernel.schema import AXIAL_T2, SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import Study


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
