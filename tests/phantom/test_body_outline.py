"""The trunk's outline: smooth where the spine is bent, and in the right order from front to back."""

import numpy as np
import pytest

from lumbar_kernel.geometry import SlicePlane
from lumbar_kernel.phantom import draw_patient, tissue
from lumbar_kernel.phantom.body import Body
from lumbar_kernel.phantom.body_outline import HEIGHTS, THINNEST, Trunk
from lumbar_kernel.phantom.frame import build_frame

SHOWN = (HEIGHTS > -120) & (HEIGHTS < 150)
"""Heights that a sagittal slice shows."""


@pytest.fixture(scope="module", params=range(5))
def body(request):
    anatomy = draw_patient(request.param)
    frame = build_frame(anatomy, np.random.default_rng(request.param))
    return Body.draw(anatomy, frame, np.random.default_rng((request.param, 1)))


def midline(frame):
    """The plane through the middle of an unbent spine, 1 mm a pixel, rows downwards."""
    (right, down), corner = np.eye(3)[1:] * [[1], [-1]] @ frame.rotation.T, np.array([0.0, -220.0, 150.0])
    return SlicePlane(corner @ frame.rotation.T + frame.shift, right, down, 1.0, 1.0, (270, 350))


def test_upright_coordinates_lead_back_to_the_patient(body):
    frame = body.frame
    plane = midline(frame)
    for shape in (plane.shape, (90, 70)):
        x, y, z = (np.broadcast_to(c, shape) for c in frame.upright(plane, shape))
        there = np.stack([x[-1, 3], y[-1, 3], z[-1, 3]]) @ frame.rotation.T + frame.shift
        pixel = (np.array([shape[0] - 1, 3]) + 0.5) * plane.shape / np.array(shape) - 0.5
        assert np.allclose(there, plane.to_mm(pixel), atol=1e-3)


def test_the_outline_is_in_order_and_bends_gently(body):
    trunk = body.trunk
    assert np.all(trunk.skin - trunk.fascia >= THINNEST - 1e-9)
    assert np.all(trunk.fascia - trunk.front > 90)
    for line in (trunk.fascia, trunk.skin, trunk.front):
        assert np.abs(np.diff(line[SHOWN])).max() < 1.6
        assert np.abs(np.diff(line[SHOWN], n=2)).max() < 0.12


def test_skin_bends_less_than_the_back_under_it(body):
    trunk = body.trunk
    bend = [np.abs(np.diff(line[SHOWN], n=2)).sum() for line in (trunk.skin, trunk.fascia)]
    assert bend[0] < bend[1]


def test_a_patient_who_lies_has_a_flat_back(body):
    trunk = body.trunk
    assert np.ptp(trunk.skin[SHOWN]) < min(35, 0.8 * np.ptp(trunk.fascia[SHOWN]))


def test_the_painted_skin_has_no_steps_behind_a_bent_spine(body):
    frame, plane = body.frame, midline(body.frame)
    place = frame.to_spine(plane.origin, plane.column_direction, plane.row_direction, plane.shape)
    inside = body.ids(place, frame.upright(plane, plane.shape)) != tissue.AIR
    rearmost = inside.shape[1] - np.argmax(inside[:, ::-1], axis=1)
    assert np.abs(np.diff(rearmost)).max() <= 4


def test_flanks_curve_forwards_and_the_belly_backwards():
    anatomy = draw_patient(1)
    trunk = Trunk.draw(anatomy, build_frame(anatomy, np.random.default_rng(0)), np.random.default_rng(0))
    side = np.linspace(0, trunk.half_width, 60).astype(np.float32)
    skin, front = trunk.surfaces(side, np.zeros_like(side))
    assert np.all(np.diff(skin) <= 0)
    assert np.all(np.diff(front) >= 0)
    assert skin[-1] == pytest.approx(front[-1], abs=1)
