import numpy as np
import pytest

from evaluation import real_slices
from training import packs
from training.single_slice import sagittal_slice


def test_a_squashed_picture_gets_its_shape_back():
    item = sagittal_slice(np.zeros((250, 250), np.uint8), rows=500, columns=250, field_mm=300)
    assert item.plane.row_spacing * 250 == pytest.approx(300)
    assert item.plane.column_spacing * 250 == pytest.approx(150)


def test_the_letterbox_undoes_a_squashed_picture():
    squashed = np.zeros((250, 250), np.uint8)
    squashed[125, 60] = 255
    frame, height, width = real_slices.letterbox(squashed, rows=500, columns=250)
    assert (height, width) == (256, 128)
    place = packs._to_frame(np.array([[125.5, 60.5]]) / 250, height, width)[0]
    assert np.allclose(np.unravel_index(frame.argmax(), frame.shape), place, atol=1.5)
