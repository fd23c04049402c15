from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.localisation.coverage import doubt_of_count
from lumbar_kernel.localisation.landmarks import localise
from lumbar_kernel.models.checkpoints import load_models
from lumbar_kernel.schema import SAGITTAL_T1, SAGITTAL_T2
from tests.conftest import make_slice


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


@pytest.mark.parametrize(("below", "above", "words"), [(0.9, 0.7, None), (0.7, 0.7, "L5/S1"), (0.9, 0.5, "L1/L2")])
def test_most_of_a_step_must_be_seen_below_and_above_the_levels(below, above, words):
    margin = np.array([[0.0, 0.0, -30.0 * level] for level in range(5)])
    shape = (round(30 * (4 + below + above)) + 1, 10)
    said = doubt_of_count([make_slice(origin=(0, 0, 30 * above), shape=shape)], margin)
    assert said is None if words is None else words in said


@pytest.mark.parametrize("upper", [0, 1])
def test_two_series_that_show_one_end_each_are_enough(upper):
    margin = np.array([[0.0, 0.0, -30.0 * level] for level in range(5)])
    slices = [make_slice(origin=(0, 0, top), shape=(121, 10)) for top in (35, -35)]
    assert doubt_of_count([slices[upper], slices[1 - upper]], margin) is None
