import numpy as np

from training import packs


def test_pseudo_stir_darkens_fat_and_keeps_fluid():
    t2, t1 = np.full((50, 50), 200, np.uint8), np.full((50, 50), 20, np.uint8)
    t1[:, 25:] = 220  # fat: bright on both
    mixed = packs.pseudo_stir(t2, t1)
    assert mixed[:, :20].mean() > 5 * mixed[:, 30:].mean()
