import cv2
import numpy as np
import pytest

from lumbar_kernel.pictures import SIZE, draw_study
from lumbar_kernel.schema import SAGITTAL_T1, SAGITTAL_T2
from lumbar_kernel.study import Study

NOWHERE = (None,) * 5


def without(study, *roles):
    return Study(study.study_id, tuple(item for item in study.series if item.role not in roles))


def test_a_picture_has_a_panel_for_each_sagittal_view_and_level(phantom, landmarks, views, tmp_path):
    picture = cv2.imread(str(draw_study(phantom.study, landmarks, views, tmp_path)))
    assert picture.shape == (2 * SIZE, 5 * SIZE, 3)
    assert picture[:SIZE, : 4 * SIZE].std() > 20
    assert picture[SIZE:].std() > 20


def test_marks_follow_the_landmarks(phantom, landmarks, views, tmp_path):
    """Moved landmarks colour other pixels: at the new place, and no longer at the old one."""
    moved = landmarks.__class__(**{**landmarks.__dict__, "canal": landmarks.canal + np.array([0.0, 0.0, 12.0])})
    pictures = [
        cv2.imread(str(draw_study(phantom.study, item, views, tmp_path / name)))[:SIZE, :SIZE].astype(int)
        for name, item in (("as_is", landmarks), ("moved", moved))
    ]
    green = [np.argwhere((panel[..., 1] > 200) & (panel[..., 0] < 120) & (panel[..., 2] < 120)) for panel in pictures]
    assert min(len(found) for found in green) >= 5 * 9
    assert green[1][:, 0].mean() < green[0][:, 0].mean() - 5


@pytest.mark.parametrize("absent", [(SAGITTAL_T1,), (SAGITTAL_T2,)])
def test_a_missing_sagittal_role_leaves_the_others(phantom, landmarks, absent, tmp_path):
    picture = cv2.imread(str(draw_study(without(phantom.study, *absent), landmarks, NOWHERE, tmp_path)))
    assert picture.shape == (2 * SIZE, 5 * SIZE, 3)
