import numpy as np
import pytest

from lumbar_kernel.schema import CANAL, LABEL_COUNTS
from training import pack_crops


def test_only_boxed_levels_get_weak_grades_and_not_more_than_the_challenge_has(packs_folder):
    examples, boxed = pack_crops.boxed_canals(packs_folder)
    graded = pack_crops.canal(packs_folder)
    assert boxed.any()
    assert not boxed.all()
    assert (examples.labels == -1).all()
    assert set(graded.labels[~boxed, 0]) == {0}
    for level, counts in enumerate(LABEL_COUNTS[CANAL]):
        mine = graded.level == level
        assert (graded.labels[mine] > 0).sum() <= round(mine.sum() * sum(counts[1:]) / sum(counts)) + 1


def test_fluid_that_goes_dark_at_the_disc_is_missed():
    open_canal = np.full((144, 144), 20, np.uint8)
    open_canal[:, 62:82] = 220
    crowded = open_canal.copy()
    crowded[68:76, 62:82] = 60
    left = pack_crops.remaining_fluid(np.stack([open_canal, crowded]))
    assert left == pytest.approx([1, 60 / 220])
