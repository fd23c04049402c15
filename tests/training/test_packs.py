import numpy as np

from training import packs


def test_disc_margins_come_from_masks_and_keep_their_level_where_a_slice_misses_a_disc():
    mask = np.zeros((400, 200), np.uint8)
    for k in range(6):
        mask[20 + 60 * k : 36 + 60 * k, 60:110] = 1
    mask[10:390, 113:130] = 3
    lateral = mask.copy()
    lateral[300:, :] = 0
    margins = packs.disc_margins(np.stack([mask, lateral]))
    assert np.allclose(margins[0, :, 0], 87.5 + 60 * np.arange(5), atol=1)
    assert np.allclose(margins[0, :, 1], 109, atol=1)
    assert np.array_equal(margins[1, :4], margins[0, :4])
    assert np.isnan(margins[1, 4]).all()
    without_canal = np.where(mask == 3, 0, mask).astype(np.uint8)
    assert np.isnan(packs.disc_margins(without_canal[None])).all()


def test_pseudo_stir_darkens_fat_and_keeps_fluid():
    t2, t1 = np.full((50, 50), 200, np.uint8), np.full((50, 50), 20, np.uint8)
    t1[:, 25:] = 220  # fat: bright on both
    mixed = packs.pseudo_stir(t2, t1)
    assert mixed[:, :20].mean() > 5 * mixed[:, 30:].mean()
