import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lumbar_kernel.errors import GradingError, NotFiniteError
from lumbar_kernel.grading.crops import Crops
from lumbar_kernel.grading.grader import grade, grade_by_member, grade_crops, require_graded
from lumbar_kernel.models import inference
from lumbar_kernel.models.checkpoints import load_models
from lumbar_kernel.models.grade_net import GradeNet
from lumbar_kernel.schema import CANAL, ROWS, SUBARTICULAR, group_of, row_index
from lumbar_kernel.views import VIEWS, level_and_side


def make_crops(view, *, seed=0, present=True):
    geometry, count = view.geometry, len(level_and_side(view))
    images = np.random.default_rng(seed).integers(0, 255, (count, geometry.slices, *geometry.shape), dtype=np.uint8)
    return Crops(images, np.full(count, present), np.ones((count, geometry.slices), bool))


def make_net(view, in_chans):
    torch.manual_seed(1)
    return GradeNet("mobilenetv3_small_050", in_chans=in_chans, heads=len(view.groups)).eval()


@pytest.mark.parametrize(("name", "in_chans"), [("sagittal_t1", 1), ("sagittal_t2", 3), ("axial_t2", 3)])
def test_a_view_grades_its_conditions_and_nothing_else(name, in_chans):
    view = VIEWS[name]
    graded = grade([make_crops(view)] * 2, [make_net(view, in_chans)], view=view)
    assert graded.shape == (2, 25, 3)
    for index, row in enumerate(ROWS):
        is_graded = ~np.isnan(graded[:, index])
        assert is_graded.all() == (group_of(row) in view.groups)
        assert is_graded.any() == is_graded.all()
    assert np.allclose(np.nansum(graded, axis=2)[~np.isnan(graded[:, :, 0])], 1)


def test_studies_are_graded_alike_alone_and_together(monkeypatch):
    monkeypatch.setattr(inference, "CPU_PIXELS", 7 * 64 * 96)  # batches end within a study
    view = VIEWS["axial_t2"]
    several, net = [make_crops(view, seed=k) for k in range(3)], make_net(view, 3)
    options = {"view": view}
    together = grade(several, [net], **options)
    for index, crops in enumerate(several):
        assert np.allclose(grade([crops], [net], **options)[0], together[index], atol=1e-5, equal_nan=True)


def test_absent_crops_stay_without_grade():
    view = VIEWS["sagittal_t1"]
    graded = grade([make_crops(view, present=False)], [make_net(view, 1)], view=view)
    assert np.isnan(graded).all()


class Knows(nn.Module):
    """A net that answers with the brightness of its crop and with the level it was given."""

    in_chans = 3

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1))

    def forward(self, images, level, shown):
        severe = images.mean(dim=(1, 2, 3))
        return torch.stack([torch.stack([level.float(), severe * 0, severe], dim=1)] * 2, dim=1)


def test_left_and_right_go_to_their_own_rows():
    view = VIEWS["axial_t2"]
    crops = make_crops(view)
    noise = np.random.default_rng(0).random(crops.images[::2].shape)
    crops.images[0::2], crops.images[1::2] = 1 + 250 * noise**0.3, 1 + 250 * noise**3  # left mostly bright
    graded = grade([crops], [Knows()], view=view)[0]
    rows = dict(zip(ROWS, graded, strict=True))
    for level in ("l1_l2", "l5_s1"):
        left, right = (rows[f"{side}_{SUBARTICULAR}_{level}"] for side in ("left", "right"))
        assert left[2] > right[2]
        assert np.allclose(rows[f"{CANAL}_{level}"], (left + right) / 2)
    assert rows[f"left_{SUBARTICULAR}_l5_s1"][0] > rows[f"left_{SUBARTICULAR}_l1_l2"][0]


def test_a_missing_slice_has_no_part_in_a_pooled_grade():
    view = VIEWS["sagittal_t1"]
    crops, net = make_crops(view), make_net(view, 1)
    crops.shown[:, 0] = False
    options = {"view": view}
    before = grade([crops], [net], **options)
    crops.images[:, 0] = 255 - crops.images[:, 0]
    assert np.array_equal(grade([crops], [net], **options), before, equal_nan=True)
    crops.shown[:, 0] = True
    assert np.nanmax(np.abs(grade([crops], [net], **options) - before)) > 0


def test_a_net_of_three_slices_takes_the_middle_ones_of_a_longer_stack():
    view = VIEWS["sagittal_t1_fine"]
    crops, net = make_crops(view), make_net(view, 3)
    before = grade([crops], [net], view=view)
    crops.images[:, [0, -1]] = 7
    assert np.array_equal(grade([crops], [net], view=view), before, equal_nan=True)


class SmallMemory(Knows):
    """A net that runs out of memory on more than four crops at once."""

    sizes = ()

    def forward(self, images, level, shown):
        self.sizes = (*self.sizes, len(images))
        if len(images) > 4:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return super().forward(images, level, shown)


def test_a_view_is_graded_in_batches_of_limited_size(monkeypatch):
    view, net = VIEWS["axial_t2"], SmallMemory()
    monkeypatch.setattr(inference, "CPU_PIXELS", 4 * math.prod(view.geometry.shape))
    grade([make_crops(view)], [net], view=view)
    assert net.sizes == (3, 3, 4)


def test_too_little_memory_halves_the_batch_and_changes_nothing():
    view, net = VIEWS["axial_t2"], SmallMemory()
    options = {"view": view}
    small = grade([make_crops(view)], [net], **options)
    assert max(net.sizes) == 10
    assert np.allclose(small, grade([make_crops(view)], [Knows()], **options), equal_nan=True)


def test_numbers_that_are_not_finite_are_refused():
    net = make_net(VIEWS["sagittal_t2"], 3)
    with torch.no_grad():
        net.classifier.bias.fill_(float("nan"))
    pictures, shown = np.full((2, 3, 32, 32), 90, np.uint8), np.ones((2, 3), bool)
    with pytest.raises(NotFiniteError, match="6 numbers"):
        grade_crops([net], pictures, torch.zeros(2, dtype=torch.long), shown)


def test_folds_are_averaged():
    view = VIEWS["axial_t2"]
    nets = [make_net(view, 3), Knows()]
    alone = [grade([make_crops(view)], [net], view=view) for net in nets]
    assert not np.allclose(*alone, equal_nan=True)
    assert np.allclose(grade([make_crops(view)], nets, view=view), np.mean(alone, axis=0), equal_nan=True)


def test_every_member_grades_what_its_view_shows_and_those_without_a_view_or_weights_are_left_out(untrained):
    models, _ = load_models(untrained, "cpu")
    crops = {name: make_crops(VIEWS[name]) for name in ("axial_t2", "sagittal_t2")}
    graded = grade_by_member(crops, models)
    assert [*graded] == [spec.name for spec in models.manifest.members if spec.view in crops]
    for name, view in (("tiny_axial_t2", "axial_t2"), ("tiny_sagittal_t2", "sagittal_t2")):
        expected = grade([crops[view]], models.members[name], view=VIEWS[view])[0]
        assert np.array_equal(graded[name], expected, equal_nan=True)
    fewer = replace(models, members={name: nets for name, nets in models.members.items() if name != "tiny_axial_t2"})
    assert [*grade_by_member(crops, fewer)] == ["tiny_sagittal_t2"]


def test_a_row_that_a_member_saw_must_be_graded_and_others_need_not():
    view = VIEWS["sagittal_t2"]
    crops = make_crops(view)
    crops.present[:2] = False
    grades = np.full((25, 3), np.nan)
    rows = [row_index(CANAL, level) for level in range(5)]
    grades[rows[2:]] = 1 / 3
    require_graded(grades, crops, view)
    grades[rows[3], 1] = np.nan
    with pytest.raises(GradingError, match=f"1 rows, the first {ROWS[rows[3]]}"):
        require_graded(grades, crops, view)
