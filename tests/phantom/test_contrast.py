"""Tissues stand in the order that each weighting gives them."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from lumbar_kernel import schema
from lumbar_kernel.phantom import CONTRASTS, draw_patient, tissue
from lumbar_kernel.phantom.contrast import draw_protocol, signals

DISC = 5


@pytest.fixture(scope="module")
def young():
    return replace(draw_patient(2), nucleus=np.full(10, 0.95), marrow_fat=0.4)


def mean_signals(anatomy, role, *, suppressed=False, field=1.5, contrast=CONTRASTS[0]):
    """Mean signal of every tissue over twenty draws of scanner and tissue."""
    tables, seed = [], 0
    while len(tables) < 20:
        rng = np.random.default_rng(seed)
        protocol = draw_protocol(rng, role, field=field, contrast=contrast)
        if (protocol.inversion_time is not None) == suppressed:
            table = signals(anatomy, protocol, rng)
            tables.append(table.real + table.imag)
        seed += 1
    return np.mean(tables, axis=0)


def falls(table, *tissues):
    values = [float(table[t]) for t in tissues]
    return all(a > b for a, b in pairwise(values))


@pytest.mark.parametrize("field", [1.5, 3.0])
def test_t1_shows_fat_then_marrow_then_discs_and_muscle_then_csf(young, field):
    table = mean_signals(young, schema.SAGITTAL_T1, field=field)
    assert falls(table, tissue.FAT, tissue.FATTY, tissue.MARROW, tissue.MUSCLE, tissue.CSF, tissue.CORTEX)
    assert falls(table, tissue.MARROW, tissue.NUCLEUS + DISC, tissue.CSF)


@pytest.mark.parametrize("role", [schema.SAGITTAL_T2, schema.AXIAL_T2])
def test_t2_shows_csf_then_fat_then_marrow_then_muscle_then_flavum(young, role):
    table = mean_signals(young, role)
    assert falls(table, tissue.CSF, tissue.FAT, tissue.MARROW, tissue.MUSCLE, tissue.FLAVUM)
    assert falls(table, tissue.CSF, tissue.NUCLEUS + DISC, tissue.INNER + DISC, tissue.ANNULUS + DISC)
    assert falls(table, tissue.CSF, tissue.ROOT, tissue.MUSCLE)


def test_stir_hides_fat(young):
    table = mean_signals(young, schema.SAGITTAL_T2, suppressed=True)
    assert falls(table, tissue.CSF, tissue.EDEMA, tissue.MARROW, tissue.FAT)
    assert table[tissue.FAT] < 0.12


def test_a_worn_nucleus_is_dark_on_t2(young):
    worn = replace(young, nucleus=np.full(10, 0.05))
    one, two = (mean_signals(a, schema.SAGITTAL_T2)[tissue.NUCLEUS + DISC] for a in (young, worn))
    assert one > 2.5 * two


def test_random_greys_know_no_physics_and_physics_keeps_fat_apart(young):
    rng = np.random.default_rng(0)
    protocol = draw_protocol(rng, schema.SAGITTAL_T1, field=1.5, contrast="random")
    one, two = (signals(young, protocol, np.random.default_rng(seed)) for seed in (1, 2))
    assert np.corrcoef(one.real, two.real)[0, 1] < 0.8
    assert not one.imag.any()
    table = signals(young, draw_protocol(rng, schema.SAGITTAL_T1, field=1.5), rng)
    assert table[tissue.FAT].imag > 5 * table[tissue.FAT].real
    assert table[tissue.CSF].imag == 0
