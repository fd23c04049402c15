from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.localisation.coverage import doubt_of_count
from lumbar_kernel.localisation.landmarks import localise
from lumbar_kernel.models.checkpoints import load_models
from lumbar_kernel.schema import SAGITTAL_T1, SAGITTAL_T2


def sagittal(study):
    return (*study.slices(SAGITTAL_T1), *study.slices(SAGITTAL_T2))


def cut(item, *, above, below):
    """An upright sagittal slice without the rows beyond two heights, mm."""
    rows = np.arange(item.plane.shape[0])
    height = item.plane.to_mm(np.stack([rows, np.zeros(len(rows))], axis=1))[:, 2]
    kept = np.flatnonzero((height < above) & (height > below))
    plane = replace(
        item.plane,
        origin=item.plane.to_mm(np.array([float(kept[0]), 0.0])),
        shape=(len(kept), item.plane.shape[1]),
    )
    return replace(item, plane=plane, pixels=item.pixels[kept[0] : kept[-1] + 1])


def without(study, **limits):
    series = tuple(
        replace(each, slices=tuple(cut(item, **limits) for item in each.slices))
        if each.role in (SAGITTAL_T1, SAGITTAL_T2)
        else each
        for each in study.series
    )
    return replace(study, series=series)


def test_a_whole_frame_raises_no_doubt(phantom):
    assert doubt_of_count(sagittal(phantom.study), phantom.truth.disc_margin) is None


@pytest.mark.parametrize(("end", "words"), [("below", "end near L5/S1"), ("above", "begin near L1/L2")])
def test_slices_that_end_at_an_outer_level_are_doubted(end, words, phantom):
    height = phantom.truth.disc_margin[:, 2]
    limits = {"above": np.inf, "below": -np.inf} | {end: height[-1] - 10 if end == "below" else height[0] + 10}
    assert words in doubt_of_count(sagittal(without(phantom.study, **limits)), phantom.truth.disc_margin)


def test_one_series_that_shows_enough_is_enough(phantom):
    short = without(phantom.study, above=np.inf, below=phantom.truth.disc_margin[-1, 2] - 10)
    slices = (*short.slices(SAGITTAL_T1), *phantom.study.slices(SAGITTAL_T2))
    assert doubt_of_count(slices, phantom.truth.disc_margin) is None


def test_levels_of_a_frame_that_ends_above_l5_s1_are_not_trusted(phantom, trained):
    nets = load_models(trained, "cpu")[0].sagittal
    height = phantom.truth.disc_margin[:, 2]
    short = without(phantom.study, above=np.inf, below=(height[3] + height[4]) / 2)
    assert localise(short, nets).confidence.max() <= 0.5 < localise(phantom.study, nets).confidence.min()
