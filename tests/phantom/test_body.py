import numpy as np
import pytest

from lumbar_kernel.phantom import draw_patient, tissue
from lumbar_kernel.phantom.body_outline import BodyOutline
from lumbar_kernel.phantom.frame import build_frame
from tests.phantom.conftest import midline


def test_the_painted_skin_has_no_steps_behind_a_bent_spine(body):
    frame, plane = body.frame, midline(body.frame)
    place = frame.to_spine(plane.origin, plane.column_direction, plane.row_direction, plane.shape)
    inside = body.ids(place, frame.upright(plane, plane.shape)) != tissue.AIR
    rearmost = inside.shape[1] - np.argmax(inside[:, ::-1], axis=1)
    assert np.abs(np.diff(rearmost)).max() <= 4


def test_flanks_curve_forwards_and_the_belly_backwards():
    anatomy = draw_patient(1)
    trunk = BodyOutline.draw(anatomy, build_frame(anatomy, np.random.default_rng(0)), np.random.default_rng(0))
    side = np.linspace(0, trunk.half_width, 60).astype(np.float32)
    skin, front = trunk.surfaces(side, np.zeros_like(side))
    assert np.all(np.diff(skin) <= 0)
    assert np.all(np.diff(front) >= 0)
    assert skin[-1] == pytest.approx(front[-1], abs=1)
