import numpy as np
import pytest

from lumbar_kernel.phantom.anatomy import FIRST_FUSED, LUMBAR_DISCS
from tests.phantom.conftest import spine_of


@pytest.fixture(scope="module")
def spine():
    return spine_of("")


def test_discs_beyond_the_five_take_the_nearest_levels_numbers(spine):
    assert [spine.lumbar(disc) for disc in range(10)] == [0, 0, 0, 0, 1, 2, 3, 4, 4, 4]


def test_only_below_a_lumbarised_s1_the_sacrum_starts_one_lower(spine):
    assert spine.first_fused == FIRST_FUSED
    assert spine_of("lumbarised").first_fused == FIRST_FUSED + 1


@pytest.mark.parametrize("disc", LUMBAR_DISCS)
def test_a_foramen_lies_between_its_pedicles_beside_the_canal(spine, disc):
    inner, outer, bottom, top = spine.foramen_box(disc)
    assert 0 < inner < outer
    assert spine.pedicle(disc + 1)[1] < bottom < top < spine.pedicle(disc)[1]
    assert top - bottom == pytest.approx(18, abs=9)


@pytest.mark.parametrize("disc", LUMBAR_DISCS)
def test_the_ganglion_lies_in_the_upper_half_of_its_foramen(spine, disc):
    inner, outer, bottom, top = spine.foramen_box(disc)
    for side, sign in enumerate((1, -1)):
        u, _, s = spine.ganglion_centre(disc, side)
        assert inner < sign * u < outer
        assert 0.5 * (bottom + top) < s < top


@pytest.mark.parametrize("disc", LUMBAR_DISCS)
def test_a_traversing_root_runs_outwards_from_the_sac_to_the_foramen_below(spine, disc):
    top, bottom = spine.root_ends(disc)
    assert spine.foramen_box(disc + 1)[3] > bottom
    down, out, _ = spine.traversing_root(disc, np.linspace(top, bottom, 30).astype(np.float32))
    assert down[0] == pytest.approx(0, abs=1e-3)
    assert down[-1] == pytest.approx(1, abs=1e-3)
    assert np.all(np.diff(out) >= 0)


@pytest.mark.parametrize("disc", LUMBAR_DISCS)
def test_joints_lie_behind_the_canals_middle_with_unit_directions(spine, disc):
    for side in range(2):
        joint = spine.joint(disc, side)
        assert joint.centre[0] > 5
        assert joint.centre[1] > 5
        assert np.hypot(*joint.tangent) == pytest.approx(1)
        assert np.dot(joint.tangent, joint.normal) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("disc", LUMBAR_DISCS)
def test_disc_material_reaches_farthest_at_its_own_height(spine, disc):
    u = np.zeros(1, np.float32)
    middle = float(spine.frame.disc_s[disc])
    bulge = float(spine.bulging(u, disc)[0])
    far = spine.edge(u, np.float32([middle + 40]), disc)
    assert spine.margin(disc) >= bulge - 1e-4
    assert far == pytest.approx([0], abs=1e-4)


def test_the_roof_follows_the_levels_and_closes_in_the_sacrum(spine):
    s = spine.frame.lumbar_disc_s.astype(np.float32)
    assert spine.roof_depth(s)[:4] == pytest.approx(spine.anatomy.roof[:4], rel=0.02)
    assert spine.roof_depth(np.float32([spine.frame.body_s[-1]]))[0] < 0.5 * spine.anatomy.roof[4]
