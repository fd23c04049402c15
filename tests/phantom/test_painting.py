import numpy as np
import pytest

from lumbar_kernel.phantom import make_phantom, tissue
from lumbar_kernel.phantom.acquire import PaintedBody
from lumbar_kernel.phantom.anatomy import LUMBAR_DISCS
from lumbar_kernel.phantom.body import Body
from lumbar_kernel.phantom.painting import VOXEL, paint_canal, paint_spine
from lumbar_kernel.phantom.texture import Texture
from tests.phantom.conftest import SEED, spine_of


@pytest.fixture(scope="module")
def spine():
    return spine_of("")


@pytest.fixture(scope="module")
def whole(spine):
    return paint_spine(spine)


def test_the_spine_holds_every_tissue_that_each_patient_has(whole):
    present = set(np.unique(whole.ids))
    assert {tissue.CORTEX, tissue.MARROW, tissue.FAT, tissue.CSF, tissue.ROOT, tissue.CORD, tissue.FLAVUM} <= present
    assert {tissue.GANGLION, tissue.JOINT, tissue.VEIN} <= present
    assert {tissue.ANNULUS + disc for disc in LUMBAR_DISCS} <= present


def test_the_outermost_voxels_are_outside(whole):
    for axis in range(3):
        faces = np.moveaxis(whole.ids, axis, 0)[[0, -1]]
        assert not faces.any()


def test_the_canal_that_is_measured_is_that_of_the_images(spine, whole):
    canal = paint_canal(spine)
    same = whole.ids
    for axis, (own, all_of_it) in enumerate(((canal.u, whole.u), (canal.v, whole.v), (canal.s, whole.s))):
        start = int(np.searchsorted(all_of_it, own[0] - 0.1 * VOXEL))
        same = np.take(same, np.arange(start, start + len(own)), axis=axis)
    nerves = np.isin(same, (tissue.ROOT, tissue.CORD, tissue.CSF))
    inside = canal.v[None, :, None] > 0  # measured around the sac
    differ = (canal.ids != same) & ~nerves & inside
    assert differ.mean() < 0.002


def test_soft_tissue_fills_only_what_bone_leaves_free(spine, whole):
    """The dural sac lies in the canal: between the pedicles, behind the posterior wall, before the laminae."""
    u, v, _ = np.nonzero(np.isin(whole.ids, (tissue.CSF, tissue.CORD)))
    assert np.abs(whole.u[u]).max() < 20
    assert whole.v[v].min() > -3
    assert whole.v[v].max() < 30


def test_the_outline_encloses_every_painted_voxel(spine, whole):
    body = Body.draw(spine.anatomy, spine.frame, np.random.default_rng(SEED))
    painted = PaintedBody(spine.anatomy, spine.frame, body, Texture.draw(np.random.default_rng(0)), whole)
    u, v, s = (axis[found] for axis, found in zip((whole.u, whole.v, whole.s), np.nonzero(whole.ids), strict=True))
    few = np.random.default_rng(0).choice(len(u), 2000)
    points = spine.frame.to_patient(np.stack([u, v, s], axis=1)[few].astype(float))
    low, high = painted.outline.min(axis=0), painted.outline.max(axis=0)
    assert np.all(points > low - 15)
    assert np.all(points < high + 15)


def test_painting_repeats(spine, whole):
    assert np.array_equal(paint_spine(spine).ids, whole.ids)
    assert make_phantom(SEED, study_id="1", roles=()).truth.grades.shape == (25,)
