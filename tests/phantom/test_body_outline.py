import numpy as np

from lumbar_kernel.phantom.body_outline import HEIGHTS, THINNEST
from tests.phantom.conftest import midline

SHOWN = (HEIGHTS > -120) & (HEIGHTS < 150)
"""Heights that a sagittal slice shows."""


def test_upright_coordinates_lead_back_to_the_patient(body):
    frame = body.frame
    plane = midline(frame)
    for shape in (plane.shape, (90, 70)):
        x, y, z = (np.broadcast_to(c, shape) for c in frame.upright(plane, shape))
        there = np.stack([x[-1, 3], y[-1, 3], z[-1, 3]]) @ frame.rotation.T + frame.shift
        pixel = (np.array([shape[0] - 1, 3]) + 0.5) * plane.shape / np.array(shape) - 0.5
        assert np.allclose(there, plane.to_mm(pixel), atol=1e-3)


def test_the_outline_is_in_order_and_bends_gently(body):
    trunk = body.outline
    assert np.all(trunk.skin - trunk.fascia >= THINNEST - 1e-9)
    assert np.all(trunk.fascia - trunk.front > 90)
    for line in (trunk.fascia, trunk.skin, trunk.front):
        assert np.abs(np.diff(line[SHOWN])).max() < 1.6
        assert np.abs(np.diff(line[SHOWN], n=2)).max() < 0.12


def test_skin_bends_less_than_the_back_under_it(body):
    trunk = body.outline
    bend = [np.abs(np.diff(line[SHOWN], n=2)).sum() for line in (trunk.skin, trunk.fascia)]
    assert bend[0] < bend[1]


def test_a_patient_who_lies_has_a_flat_back(body):
    trunk = body.outline
    assert np.ptp(trunk.skin[SHOWN]) < min(35, 0.8 * np.ptp(trunk.fascia[SHOWN]))
