from dataclasses import replace

import numpy as np
import pytest

from lumbar_kernel.schema import SAGITTAL_T2
from lumbar_kernel.slice_choice import nearest_sagittal
from tests.pack_files import balanced_phantom
from tests.training.conftest import SEEDS
from training.marked_pictures import axial_crops, marked_slices
from training.packs import midsagittal


def test_margins_and_centres_of_the_same_slices_lead_to_the_same_margins(packs_folder):
    margins, centres = (
        {int(mark.name[: -len(ending)]): mark for mark in marked_slices(packs_folder, pack) if mark.weighting == "t2"}
        for pack, ending in (("sudirman_sagittal", "_t2.jpg"), ("tianchi_t2", ".jpg"))
    )
    assert set(margins) == set(centres)
    for study, mark in margins.items():
        assert np.array_equal(mark.margins, mark.discs)
        assert np.allclose(centres[study].margins, mark.margins, atol=0.03)
        assert (mark.margins[:, 1] - centres[study].discs[:, 1]).min() > 0.04


def test_margins_are_not_guessed_where_a_centre_is_missing(packs_folder):
    mark = next(marked_slices(packs_folder, "tianchi_t2"))
    discs = mark.discs.copy()
    discs[2] = np.nan
    assert np.isnan(replace(mark, discs=discs).margins).all()


def test_marks_are_those_of_the_phantom(packs_folder):
    mark = next(mark for mark in marked_slices(packs_folder, "sudirman_sagittal") if mark.weighting == "t2")
    made = balanced_phantom(SEEDS[0])
    item = nearest_sagittal(made.study.slices(SAGITTAL_T2), made.truth.canal[2])
    assert mark.discs * mark.picture.shape - 0.5 == pytest.approx(item.plane.to_pixel(made.truth.disc_margin))


def test_an_axial_crop_has_three_slices_and_its_marks(packs_folder):
    crop = next(axial_crops(packs_folder))
    assert [part.shape for part in crop.slices] == [crop.shape] * 3 == [(129, 212)] * 3
    assert crop.recesses.tolist() == [[60, 130], [64, 70]]
    assert crop.mm == pytest.approx(170 / 640)
    assert set(crop.grades.values()) <= {0, 1, 2}


def test_a_pair_of_t1_and_t2_also_gives_a_mixed_picture(packs_folder):
    examples = midsagittal(packs_folder, "sudirman_sagittal")
    assert set(examples.weighting) == {"t1", "t2", "stir"}
    assert (examples.known.all(axis=1) & ~np.isnan(examples.points[:, :5]).any(axis=(1, 2))).all()
