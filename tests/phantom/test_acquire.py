"""Acquisition: what is taken as the same all over a slice really is."""

import numpy as np
import pytest

from lumbar_kernel.phantom import draw_patient
from lumbar_kernel.phantom.acquire import depth_step
from lumbar_kernel.phantom.frame import build_frame
from lumbar_kernel.phantom.prescription import prescribe_axial, prescribe_sagittal, stack_of


@pytest.mark.parametrize("prescribe", [lambda *a: [prescribe_sagittal(*a)], prescribe_axial], ids=["sagittal", "axial"])
def test_a_sub_slice_lies_a_constant_step_from_its_slice(prescribe):
    off = []
    for seed in range(6):
        frame = build_frame(draw_patient(seed), np.random.default_rng(seed))
        plan = prescribe(frame, np.random.default_rng(seed))[0]
        for plane in stack_of(plan, np.random.default_rng(seed), finest=2.0).drawn[::4]:
            here, there = (
                np.stack(frame.to_spine(origin, *plane.steps, plane.shape))
                for origin in (plane.origin, plane.origin + 1.1 * plane.normal)
            )
            # the painted spine: further behind, lines across a bent one meet
            spine = (np.abs(here[0]) < 30) & (here[1] > -45) & (here[1] < 35) & (np.abs(here[2]) < 110)
            if spine.any():
                step = depth_step(frame, plane, np.argwhere(spine).mean(axis=0), 1.1)
                off.append(np.linalg.norm(there - here - step[:, None, None], axis=0)[spine])
    assert len(off) > 20
    assert np.quantile(np.concatenate(off), 0.9) < 0.3
