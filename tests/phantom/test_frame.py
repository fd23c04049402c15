"""The spine's frame: there and back again, and what slips and curves do to it."""

from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.phantom import draw_patient
from lumbar_kernel.phantom.frame import SpineFrame, build_frame

RIGHT, DOWN = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, -1.0])


def frame_of(anatomy, seed=0) -> SpineFrame:
    return build_frame(anatomy, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def crooked():
    slip = np.zeros(10)
    slip[6] = 6.0
    return replace(draw_patient(5), slip=slip, isthmic=False, scoliosis=(9.0, 0.3), twist=1.0)


def straightened(anatomy):
    return replace(anatomy, slip=np.zeros(10), scoliosis=(0.0, 0.0), elastic=0 * anatomy.elastic)


def test_points_go_to_the_patient_and_back(crooked):
    frame = frame_of(crooked)
    rng = np.random.default_rng(1)
    points = rng.uniform((-30, -35, -100), (30, 30, 90), (40, 3))
    for point, place in zip(points, frame.to_patient(points), strict=True):
        u, v, s = (float(x[0, 0]) for x in frame.to_spine(place, DOWN, RIGHT, (1, 1)))
        assert np.allclose((u, v, s), point, atol=0.7)  # the table that unbends the spine has steps of 2 mm


def test_a_grid_of_pixels_is_each_pixel_alone(crooked):
    frame = frame_of(crooked)
    origin = frame.to_patient(np.array([10.0, -20.0, -40.0]))
    whole = frame.to_spine(origin, 0.7 * DOWN, 0.6 * RIGHT, (41, 33))
    for row, column in ((0, 0), (40, 32), (17, 8)):
        alone = frame.to_spine(origin + 0.7 * row * DOWN + 0.6 * column * RIGHT, 0.7 * DOWN, 0.6 * RIGHT, (1, 1))
        assert all(abs(float(a[row, column] - b[0, 0])) < 0.35 for a, b in zip(whole, alone, strict=True))


def test_a_slip_moves_the_body_above_forwards_and_leaves_the_one_below(crooked):
    plain = straightened(crooked)
    slipped = replace(plain, slip=crooked.slip)
    one, two = frame_of(plain), frame_of(slipped)
    moved = [
        two.to_patient(p) - one.to_patient(p)
        for p in np.array([[0.0, -15.0, one.body_s[6]], [0, -15.0, one.body_s[7]]])
    ]
    assert np.linalg.norm(moved[0]) == pytest.approx(6, abs=0.3)
    assert moved[0][1] < -4  # forwards is -y
    assert np.linalg.norm(moved[1]) < 0.1


def test_the_arch_slips_with_its_body_unless_the_slip_is_isthmic(crooked):
    slip = np.zeros(10)
    slip[7] = 6.0
    plain = straightened(crooked)
    arch = np.array([0.0, 24.0, frame_of(plain).lumbar_disc_s[-1] + 4])
    for isthmic in (False, True):
        frame = frame_of(replace(plain, slip=slip, isthmic=isthmic))
        moved = np.linalg.norm(frame.to_patient(arch) - frame_of(plain).to_patient(arch))
        assert moved < 0.2 if isthmic else moved > 5


def test_normals_are_units_and_lean_with_a_curve(crooked):
    frame = frame_of(crooked)
    normals = frame.direction(frame.lumbar_disc_s)
    assert np.allclose(np.linalg.norm(normals, axis=1), 1)
    assert np.all(normals[:, 2] > 0.5)
    plain = frame_of(replace(straightened(crooked), elastic=crooked.elastic))
    assert np.abs(normals[:, 0] - plain.direction(plain.lumbar_disc_s)[:, 0]).max() > 0.05
