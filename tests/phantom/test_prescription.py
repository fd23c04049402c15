"""Prescriptions look like those of real studies."""

import numpy as np
import pytest

from lumbar_kernel.phantom import draw_patient
from lumbar_kernel.phantom.frame import build_frame
from lumbar_kernel.phantom.prescription import prescribe_axial, prescribe_sagittal, prescribe_volume, stack_of


@pytest.fixture(scope="module")
def frames():
    return [build_frame(draw_patient(seed), np.random.default_rng(seed)) for seed in range(6)]


def middles(plan):
    return np.array([place[0] for place in plan.places])


def test_sagittal_stacks_run_from_right_to_left_in_even_steps(frames):
    for seed, frame in enumerate(frames):
        plan = prescribe_sagittal(frame, np.random.default_rng(seed))
        steps = np.diff(middles(plan), axis=0)
        assert 11 <= len(plan.places) <= 21
        assert np.allclose(np.linalg.norm(steps, axis=1), plan.step)
        assert np.all(steps[:, 0] > 0)
        assert plan.thickness <= plan.step


def test_volumes_have_cubic_voxels_and_lie_about_the_midline(frames):
    for seed, frame in enumerate(frames):
        plan = prescribe_volume(frame, np.random.default_rng(seed))
        steps = np.diff(middles(plan), axis=0)
        assert np.allclose(np.linalg.norm(steps, axis=1), plan.step)
        assert 75 <= plan.step * len(plan.places) <= 101
        planes = stack_of(plan, np.random.default_rng(seed), finest=plan.step, cubic=True).native
        assert planes[0].row_spacing == pytest.approx(plan.step, rel=0.05)
        usual = prescribe_sagittal(frame, np.random.default_rng(seed))
        across = middles(plan).mean(axis=0)[0] - middles(usual).mean(axis=0)[0]
        assert abs(across) < 10
        assert plan.fov > 200


def test_axial_series_come_in_one_or_more_and_climb(frames):
    plans = [prescribe_axial(frames[seed % 6], np.random.default_rng(seed)) for seed in range(40)]
    counts = np.bincount([len(parts) for parts in plans], minlength=4)
    assert counts[1] > 0.65 * len(plans)
    assert counts[2] > 0
    for parts in plans:
        heights = np.concatenate([middles(part)[:, 2] for part in parts])
        assert heights[-1] > heights[0] + 60


def test_some_axial_stacks_have_a_block_along_each_disc(frames):
    tilted = 0
    for seed in range(16):
        frame = frames[seed % 6]
        normals = frame.direction(frame.lumbar_disc_s)
        places = [place for part in prescribe_axial(frame, np.random.default_rng(seed)) for place in part.places]
        across = np.array([np.cross(right, down) for _, right, down in places])
        if np.ptp(across[:, 1]) > 0.1:
            tilted += 1
            assert (across @ normals.T).max(axis=1).min() > np.cos(np.radians(13))
    assert 3 <= tilted <= 13


def test_square_fields_have_square_matrices(frames):
    rng = np.random.default_rng(5)
    for number in range(40):
        plan = prescribe_sagittal(frames[number % 6], rng)
        rows, columns = stack_of(plan, rng, finest=0.66).native[0].shape
        assert (rows == columns) == (plan.aspect == 1)


def test_drawn_and_stored_planes_share_frame_and_first_pixel(frames):
    rng = np.random.default_rng(4)
    for frame in frames:
        stack = stack_of(prescribe_sagittal(frame, rng), rng, finest=0.66)
        for native, drawn in zip(stack.native, stack.drawn, strict=True):
            assert np.array_equal(native.origin, drawn.origin)
            assert np.allclose(native.extent_mm, drawn.extent_mm)
            assert all(
                a <= n and a <= 1.01 * d for a, n, d in zip(stack.acquired, native.shape, drawn.shape, strict=True)
            )
