from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.anatomy import FIRST_FUSED
from lumbar_kernel.phantom.painting import paint_spine
from lumbar_kernel.phantom.spine import Spine
from tests.phantom.conftest import SHOWN, spine_of

SACRAL_DISC = FIRST_FUSED


@pytest.fixture(scope="module", params=["", "lumbarised"])
def painted(request):
    spine = spine_of(request.param)
    return spine, paint_spine(spine)


def tissue_at(grid, *point):
    return grid.ids[
        tuple(int(np.searchsorted(axis, x)) for axis, x in zip((grid.u, grid.v, grid.s), point, strict=True))
    ]


def test_only_a_lumbarised_s1_has_joints_below_it(painted):
    spine, grid = painted
    below = np.abs(grid.s - spine.frame.disc_s[SACRAL_DISC]) < 6
    joints = (grid.ids[:, :, below] == tissue.JOINT).sum()
    assert (joints > 0) == (spine.anatomy.transitional == "lumbarised")


def test_a_foramen_runs_through_the_mass_from_front_to_back():
    spine = spine_of("")
    grid = paint_spine(spine)
    inner, outer, low, high = spine.foramen_box(SACRAL_DISC)
    middle, across = 0.5 * (low + high), 0.5 * (inner + outer)
    for sign in (1, -1):
        channel = [tissue_at(grid, sign * across, v, middle) for v in (-12.0, -6.0, 6.0)]
        assert all(found in SHOWN for found in channel)
        above = tissue_at(grid, sign * across, -8.0, middle + 0.5 * (high - low) + 3)
        assert above == tissue.MARROW


def test_only_a_remnant_is_left_of_the_discs_of_a_sacrum():
    spine = spine_of("")
    left = {}
    for share in (0.4, 1.0):
        spine = Spine(replace(spine.anatomy, remnant=np.array([share, 0.5])), spine.frame)
        left[share] = np.flatnonzero((paint_spine(spine).ids == tissue.ANNULUS + SACRAL_DISC).any(axis=(0, 2)))
    assert np.ptp(left[0.4]) < 0.55 * np.ptp(left[1.0])


def test_the_canal_narrows_to_a_slit(painted):
    spine, _ = painted
    s = np.array([spine.frame.lumbar_disc_s[-1], *spine.frame.body_s[FIRST_FUSED:]], dtype=np.float32)
    depth = spine.roof_depth(s)
    assert np.all(np.diff(depth) <= 0)
    assert depth[-1] < 0.5 * depth[0]
