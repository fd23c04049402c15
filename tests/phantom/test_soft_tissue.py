"""What narrows the canal is painted over what gives way, and each part keeps its side and level."""

from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.phantom import tissue
from lumbar_kernel.phantom.anatomy import FIRST_DISC
from lumbar_kernel.phantom.painting import paint_spine
from lumbar_kernel.phantom.spine import Spine
from tests.phantom.conftest import spine_of

LEVEL = 3
DISC = FIRST_DISC + LEVEL


@pytest.fixture(scope="module")
def healthy():
    """A spine whose L4/L5 is open."""
    spine = spine_of("")
    return changed(spine, bulge=0.3, side_bulge=0.3, herniation=(0.0, 0.0, 4.0, 0.0, 5.0), flavum=2.6, facet=0.0)


def changed(spine, **values):
    new = {}
    for name, value in values.items():
        new[name] = np.array(getattr(spine.anatomy, name))
        new[name][LEVEL] = value
    return Spine(replace(spine.anatomy, **new), spine.frame)


def near_disc(spine, ids, *, side=None):
    """Voxels of a tissue within 4 mm of the disc's height, on one side (0 left, 1 right) or both."""
    grid = paint_spine(spine)
    found = np.isin(grid.ids, ids)[:, :, np.abs(grid.s - spine.frame.disc_s[DISC]) < 4]
    if side is not None:
        found = found[grid.u > 0] if side == 0 else found[grid.u < 0]
    return int(found.sum())


SAC = (tissue.CSF, tissue.ROOT, tissue.CORD)


@pytest.mark.parametrize("worse", [{"bulge": 6.0}, {"flavum": 6.5}, {"herniation": (7.0, 0.0, 6.0, 0.0, 5.0)}])
def test_the_sac_gives_way_to_what_presses_on_it(healthy, worse):
    assert near_disc(changed(healthy, **worse), SAC) < 0.92 * near_disc(healthy, SAC)


def test_a_left_herniation_takes_fat_on_the_left(healthy):
    torn = changed(healthy, herniation=(7.0, 9.0, 4.0, 0.0, 5.0))
    left, right = (near_disc(torn, tissue.FAT, side=k) / near_disc(healthy, tissue.FAT, side=k) for k in range(2))
    assert left < 0.97
    assert left < right
    grown = [
        near_disc(torn, tissue.ANNULUS + DISC, side=k) - near_disc(healthy, tissue.ANNULUS + DISC, side=k)
        for k in range(2)
    ]
    assert grown[0] > 5 * max(grown[1], 1)


def test_a_thicker_flavum_is_thicker_on_its_own_side(healthy):
    thick = changed(healthy, flavum=(6.0, 2.6))
    left, right = (
        near_disc(thick, tissue.FLAVUM, side=k) / near_disc(healthy, tissue.FLAVUM, side=k) for k in range(2)
    )
    assert left > 1.35
    assert right == pytest.approx(1, abs=0.1)


def flavum_in_the_midline(spine):
    """Voxels of flavum at the disc away from the joints, whose capsules are painted as flavum too."""
    grid = paint_spine(spine)
    part = grid.ids[np.abs(grid.u) < 5][:, :, np.abs(grid.s - spine.frame.disc_s[DISC]) < 2]
    return int((part == tissue.FLAVUM).sum())


def test_a_laminectomy_removes_the_flavum(healthy):
    removed = np.array(healthy.anatomy.laminectomy)
    removed[DISC] = True
    operated = Spine(replace(healthy.anatomy, laminectomy=removed), healthy.frame)
    assert flavum_in_the_midline(healthy) > 100
    assert flavum_in_the_midline(operated) == 0


def test_a_ganglion_lies_in_each_foramen(healthy):
    grid = paint_spine(healthy)
    for side, sign in enumerate((1, -1)):
        u, _, s = healthy.ganglion_centre(DISC, side)
        box = (np.abs(grid.u - u) < 4, np.abs(grid.s - s) < 4)
        assert np.sign(u) == sign
        assert (grid.ids[box[0]][:, :, box[1]] == tissue.GANGLION).sum() > 100


def test_the_cord_ends_at_the_conus(healthy):
    grid = paint_spine(healthy)
    cord = grid.s[(grid.ids == tissue.CORD).any(axis=(0, 1))]
    tip = np.interp(healthy.anatomy.conus, np.arange(10), healthy.frame.disc_s)
    assert cord.min() > tip - 1
    assert cord.min() < tip + 15
