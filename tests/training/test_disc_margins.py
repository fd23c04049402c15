import numpy as np
import pytest

from training.disc_margins import HALF_DISC_OF_STEP, disc_margins, margins_behind


def test_disc_margins_come_from_masks_and_keep_their_level_where_a_slice_misses_a_disc():
    mask = np.zeros((400, 200), np.uint8)
    for k in range(6):
        mask[20 + 60 * k : 36 + 60 * k, 60:110] = 1
    mask[10:390, 113:130] = 3
    lateral = mask.copy()
    lateral[300:, :] = 0
    margins = disc_margins(np.stack([mask, lateral]))
    assert np.allclose(margins[0, :, 0], 87.5 + 60 * np.arange(5), atol=1)
    assert np.allclose(margins[0, :, 1], 109, atol=1)
    assert np.array_equal(margins[1, :4], margins[0, :4])
    assert np.isnan(margins[1, 4]).all()
    without_canal = np.where(mask == 3, 0, mask).astype(np.uint8)
    assert np.isnan(disc_margins(without_canal[None])).all()


def test_margins_lie_half_a_disc_behind_their_centres_along_the_disc():
    """Rows point down and columns backwards, as in every pack."""
    centres = np.stack([40.0 + 30 * np.arange(5), np.full(5, 100.0)], axis=1)
    margins = margins_behind(centres)
    assert margins[:, 0] == pytest.approx(centres[:, 0], abs=0.01)
    assert margins[:, 1] == pytest.approx(centres[:, 1] + 30 * HALF_DISC_OF_STEP, abs=0.01)
